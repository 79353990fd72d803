use super::{
    payloads::{
        BEFORE, COMMIT, TAG_OBJECT, before, check_ignored, check_malformed, check_push, deleted, parse, updated,
    },
    trust::check_unsigned,
    *,
};
use crate::domain::{
    event::{EventKind, RefChange},
    rule::SourceType::{Branch, Tag},
};

const PUSH: &str = "Push Hook";
const TAG_PUSH: &str = "Tag Push Hook";
const MESSAGE: &str = "Smaller image\n\nThe build stage stays out of it. 🎉";

#[track_caller]
fn check(event: &str, body: &'static str, change: RefChange) {
    let urls = [
        "https://gitlab.example.com/acme/backend/app.git",
        "git@gitlab.example.com:acme/backend/app.git",
        "https://gitlab.example.com/acme/backend/app",
    ];
    check_push(Provider::Gitlab, event, body, "acme/backend/app", &urls, &[change]);
}

#[test]
fn a_branch_moves_to_the_commit_to_check_out() {
    let main = updated(Branch, "main", COMMIT, Some(MESSAGE));
    check(PUSH, payload!("gitlab/branch-updated.json"), main);
    let forced = updated(Branch, "feature/login", COMMIT, Some("Rewritten\n"));
    check(PUSH, payload!("gitlab/branch-forced.json"), forced);
    let new = updated(Branch, "feature/new", COMMIT, Some(MESSAGE));
    check(PUSH, payload!("gitlab/branch-created.json"), new);
}

#[test]
fn the_message_is_that_of_the_commit_to_check_out_or_none() {
    let new = updated(Branch, "feature/new", COMMIT, None);
    check(PUSH, payload!("gitlab/branch-created-without-commits.json"), new);
    for commits in [
        serde_json::Value::Null,
        serde_json::json!([{ "id": BEFORE, "message": "x" }]),
    ] {
        let mut body: serde_json::Value = serde_json::from_str(payload!("gitlab/branch-updated.json")).unwrap();
        body["commits"] = commits;
        match parse(Provider::Gitlab, PUSH, body.to_string()) {
            Ok(EventKind::Push(push)) => {
                let kind = &push.changes[0].kind;
                assert!(format!("{kind:?}").contains("message: None"), "{kind:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_tag_stands_for_its_commit_annotated_or_not() {
    let light = updated(Tag, "v1.2.0", COMMIT, Some(MESSAGE));
    check(TAG_PUSH, payload!("gitlab/tag-created.json"), light);
    let annotated = payload!("gitlab/annotated-tag.json");
    check(TAG_PUSH, annotated, updated(Tag, "v1.2.0", COMMIT, None));
    let without = annotated.replace(&format!(r#""checkout_sha": "{COMMIT}""#), r#""checkout_sha": null"#);
    match parse(Provider::Gitlab, TAG_PUSH, without) {
        Ok(EventKind::Push(push)) => assert_eq!(push.changes, [updated(Tag, "v1.2.0", TAG_OBJECT, None)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deletion_is_not_an_update() {
    check(
        PUSH,
        payload!("gitlab/branch-deleted.json"),
        deleted(Branch, "feature/login"),
    );
    check(TAG_PUSH, payload!("gitlab/tag-deleted.json"), deleted(Tag, "v1.2.0"));
}

#[test]
fn what_a_ref_pointed_to_before_is_read() {
    let read = |body: &str| before(Provider::Gitlab, PUSH, body.to_owned());
    assert_eq!(read(payload!("gitlab/branch-updated.json")), [Some(BEFORE.to_owned())]);
    assert_eq!(read(payload!("gitlab/branch-forced.json")), [Some(BEFORE.to_owned())]);
    assert_eq!(read(payload!("gitlab/branch-created.json")), [None]);
}

#[test]
fn other_events_and_system_hooks_are_ignored_with_their_reason() {
    let push = payload!("gitlab/branch-updated.json");
    let reason = "the event `Merge Request Hook` is not a push";
    check_ignored(Provider::Gitlab, "Merge Request Hook", push, reason);
    check_ignored(Provider::Gitlab, "push", push, "the event `push` is not a push");
    let reason = "a system hook: add the webhook to the project or its group instead";
    check_ignored(
        Provider::Gitlab,
        "System Hook",
        payload!("gitlab/system-hook.json"),
        reason,
    );
    check_malformed(Provider::Gitlab, "System Hook", "{", "EOF");
}

#[test]
fn a_ref_that_is_neither_branch_nor_tag_is_ignored() {
    let body = payload!("gitlab/branch-updated.json").replace("refs/heads/main", "refs/notes/commits");
    let reason = r#""refs/notes/commits" is neither a branch nor a tag"#;
    let ignored = EventKind::Ignored(reason.to_owned());
    assert_eq!(parse(Provider::Gitlab, PUSH, body), Ok(ignored));
}

#[test]
fn fields_at_fault_are_named() {
    let payload = payload!("gitlab/branch-updated.json");
    let check = |from: &str, to: &str, message: &str| {
        assert!(payload.contains(from), "{from}");
        check_malformed(Provider::Gitlab, PUSH, payload.replace(from, to), message);
    };
    check("refs/heads/main", "refs/heads/a..b", "not a ref name that git accepts");
    check(COMMIT, "5e1c309", "is not the full name of a commit");
    check(
        &format!(r#""after": "{COMMIT}""#),
        r#""after": null"#,
        "after: invalid type: null",
    );
    check(
        r#""path_with_namespace": "acme/backend/app""#,
        r#""path_with_namespace": null"#,
        "project.path_with_namespace: invalid type: null",
    );
    check(
        "\"ref\":",
        "\"ref\": \"refs/heads/x\", \"ref\":",
        "the key `ref` is there twice",
    );
    check_malformed(Provider::Gitlab, PUSH, "{}", "missing field `ref`");
}

// $ printf '%s' 0123456789abcdef0123456789abcdef | base64
const SIGNING_TOKEN: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const ID: &str = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f";
const BODY: &str = r#"{"object_kind":"push"}"#;
// $ printf '%s.%s.%s' f5e5f430-f57b-4e6e-9fac-d9128cd7232f 1772442672 '{"object_kind":"push"}' >signed
// $ key=$(printf '%s' 0123456789abcdef0123456789abcdef | xxd -p -c 64)
// $ openssl dgst -sha256 -mac HMAC -macopt hexkey:$key -binary signed | base64
const SIGNATURE: &str = "v1,NmuJg1GDvOXyxMxQqigA05oGlNKSpr6UWL2cPEJ03vs=";
// $ openssl dgst -sha256 -hmac "It's a Secret to Everybody" -binary signed | base64
const SIGNATURE_WITH_TEXT: &str = "v1,oVZSLqyazbyVWvgRT/L2NGW/PMOuKtHNXUd6KgEeEIk=";

/// Signed as Standard Webhooks says, without a token.
fn signed() -> Webhook {
    Webhook::new(Provider::Gitlab, PUSH, BODY)
        .without("x-gitlab-token")
        .with("webhook-id", ID)
        .with("webhook-timestamp", "1772442672")
        .with("webhook-signature", SIGNATURE)
}

#[track_caller]
fn refused(webhook: &Webhook, message: &str) {
    match webhook.verify_with(SIGNING_TOKEN) {
        Err(Rejection::Signature(text)) => {
            assert!(text.contains(message), "{text}");
            assert!(
                !text.contains(SIGNING_TOKEN) && !text.contains(&SIGNATURE[3..]),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_secret_itself_is_taken_as_a_token() {
    assert!(Webhook::new(Provider::Gitlab, PUSH, BODY).verify().is_ok());
    let token = |text: &str| Webhook::new(Provider::Gitlab, PUSH, BODY).with("x-gitlab-token", text);
    for wrong in [
        "",
        "another",
        &SECRET[1..],
        &format!("{SECRET} "),
        &SECRET.to_lowercase(),
        "ïé",
    ] {
        check_unsigned(token(wrong), "is not this hook's secret");
    }
    check_unsigned(token(SECRET).with_another("x-gitlab-token", SECRET), "once");
    check_unsigned(
        token(SECRET).without("x-gitlab-token"),
        "neither a signature nor a token",
    );
    assert!(token("").verify_with("").is_err(), "no secret verifies nothing");
}

#[test]
fn a_signature_by_openssl_is_verified() {
    assert!(signed().verify_with(SIGNING_TOKEN).is_ok());
    let with_text = signed().with("webhook-signature", SIGNATURE_WITH_TEXT);
    assert!(with_text.verify().is_ok(), "a secret of another form is the key itself");
    refused(&with_text, "does not match");
}

#[test]
fn one_right_signature_among_others_is_enough() {
    let others = format!("v1a,AAAA {SIGNATURE_WITH_TEXT} v2,{0} {SIGNATURE}", &SIGNATURE[3..]);
    assert!(
        signed()
            .with("webhook-signature", &others)
            .verify_with(SIGNING_TOKEN)
            .is_ok()
    );
    let many = format!("{} {SIGNATURE}", [SIGNATURE_WITH_TEXT; 8].join(" "));
    refused(&signed().with("webhook-signature", &many), "more signatures than");
}

#[test]
fn a_signature_that_is_not_well_formed_is_refused() {
    let digits = &SIGNATURE[3..];
    for value in [
        "",
        "v1",
        "v1,",
        digits,
        &format!("v2,{digits}"),
        &format!("V1,{digits}"),
        &format!("v1, {digits}"),
        &format!("v1,v1,{digits}"),
        &format!("v1,{}", &digits[..43]),
        &format!("v1,{digits}AAAA"),
        &format!("v1,{}", hex::encode([7; 32])),
        &format!("{SIGNATURE},{SIGNATURE}"),
        "v1,é",
    ] {
        refused(&signed().with("webhook-signature", value), "32 bytes in base64");
    }
    refused(&signed().with_another("webhook-signature", SIGNATURE), "once");
}

#[test]
fn what_is_signed_cannot_be_changed() {
    let body = Webhook {
        body: r#"{"object_kind":"pusH"}"#.into(),
        ..signed()
    };
    refused(&body, "does not match");
    refused(&signed().with("webhook-id", "another"), "does not match");
    refused(&signed().with("webhook-timestamp", "1772442673"), "does not match");
    refused(&signed().with("webhook-timestamp", "01772442672"), "does not match");
}

#[test]
fn a_signed_delivery_has_an_id_and_a_time_once() {
    refused(&signed().without("webhook-id"), "webhook-id, once");
    refused(&signed().with("webhook-id", ""), "webhook-id, once");
    refused(&signed().with_another("webhook-id", ID), "webhook-id, once");
    refused(&signed().without("webhook-timestamp"), "webhook-timestamp, once");
    refused(
        &signed().with_another("webhook-timestamp", "1772442672"),
        "webhook-timestamp, once",
    );
    for time in [
        "",
        "+1772442672",
        "-1",
        "1772442672.0",
        "2026-03-02T09:11:12Z",
        "99999999999999999999",
        "é",
    ] {
        refused(&signed().with("webhook-timestamp", time), "webhook-timestamp, once");
    }
    refused(
        &signed().with("webhook-timestamp", "9223372036854775807"),
        "five minutes",
    );
}

#[test]
fn a_signature_is_good_for_five_minutes_either_way() {
    for (seconds, is_taken) in [(0, true), (300, true), (-300, true), (301, false), (-301, false)] {
        let result = signed().verify_at(NOW + seconds, SIGNING_TOKEN);
        assert_eq!(result.is_ok(), is_taken, "{seconds} {result:?}");
    }
}

#[test]
fn of_a_token_and_a_signature_both_must_be_right() {
    let both = |token: &str, signature: &str| {
        let webhook = signed()
            .with("x-gitlab-token", token)
            .with("webhook-signature", signature);
        webhook.verify_with(SIGNING_TOKEN).is_ok()
    };
    assert!(both(SIGNING_TOKEN, SIGNATURE));
    assert!(!both("another", SIGNATURE));
    assert!(!both("", SIGNATURE));
    assert!(!both(SIGNING_TOKEN, SIGNATURE_WITH_TEXT));
    assert!(!both(SIGNING_TOKEN, ""));
}

#[test]
fn signatures_of_other_forges_are_none_here() {
    let digits = signed().digits();
    let webhook = signed().without("webhook-signature");
    let webhook = webhook
        .with("x-hub-signature-256", &format!("sha256={digits}"))
        .with("x-gitea-signature", &digits);
    check_unsigned(webhook, "neither a signature nor a token");
}

fn delivery_id(webhook: &Webhook, secret: &str) -> String {
    match webhook.verify_with(secret) {
        Ok(Verification::Verified(delivery)) => delivery.delivery_id().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_delivery_is_known_by_what_is_the_same_when_it_is_sent_again() {
    let signed = signed().with("idempotency-key", "changed on the way");
    assert_eq!(delivery_id(&signed, SIGNING_TOKEN), ID);
    let current = Webhook::new(Provider::Gitlab, PUSH, BODY)
        .with("idempotency-key", "key")
        .with("x-gitlab-event-uuid", "uuid")
        .with("webhook-id", "unsigned");
    assert_eq!(delivery_id(&current, SECRET), "key");
}

#[test]
fn the_id_of_an_older_release_tells_apart_events_that_share_their_uuid() {
    let older = |body: &'static str| {
        Webhook::new(Provider::Gitlab, PUSH, body)
            .without("idempotency-key")
            .with("x-gitlab-event-uuid", "uuid")
    };
    // $ printf '%s' '{"object_kind":"push"}' | sha256sum | cut -c -16
    assert_eq!(delivery_id(&older(BODY), SECRET), "uuid-5aec989f2c585582");
    assert_ne!(delivery_id(&older("{}"), SECRET), delivery_id(&older(BODY), SECRET));
    let neither = older(BODY).without("x-gitlab-event-uuid");
    assert!(matches!(neither.verify(), Err(Rejection::Malformed(_))));
}
