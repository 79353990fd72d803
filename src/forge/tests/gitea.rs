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

const PUSH: &str = "push";
const MESSAGE: &str = "Smaller image\n\nThe build stage stays out of it. 🎉";
const FORM: &str = "application/x-www-form-urlencoded";

#[track_caller]
fn check(body: &'static str, change: RefChange) {
    let urls = [
        "https://git.example.com/acme/app.git",
        "ssh://git@git.example.com:2222/acme/app.git",
        "https://git.example.com/acme/app",
    ];
    check_push(Provider::Gitea, PUSH, body, "acme/app", &urls, &[change]);
}

#[test]
fn a_branch_moves_to_its_head_commit() {
    let main = updated(Branch, "main", COMMIT, Some(MESSAGE));
    check(payload!("gitea/branch-updated.json"), main);
    let forced = updated(Branch, "feature/login", COMMIT, Some("Rewritten\n"));
    check(payload!("gitea/branch-forced.json"), forced);
    let new = updated(Branch, "feature/new", COMMIT, Some(MESSAGE));
    check(payload!("gitea/branch-created.json"), new.clone());
    check(payload!("gitea/branch-created-without-commits.json"), new);
}

#[test]
fn a_tag_stands_for_its_commit_annotated_or_not() {
    let tag = updated(Tag, "v1.2.0", COMMIT, Some(MESSAGE));
    check(payload!("gitea/tag-created.json"), tag.clone());
    let annotated = payload!("gitea/annotated-tag.json");
    check(annotated, tag);
    let mut without: serde_json::Value = serde_json::from_str(annotated).unwrap();
    without["head_commit"] = serde_json::Value::Null;
    match parse(Provider::Gitea, PUSH, without.to_string()) {
        Ok(EventKind::Push(push)) => assert_eq!(push.changes, [updated(Tag, "v1.2.0", TAG_OBJECT, None)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deletion_is_not_an_update() {
    check(payload!("gitea/branch-deleted.json"), deleted(Branch, "feature/login"));
    check(payload!("gitea/tag-deleted.json"), deleted(Tag, "v1.2.0"));
}

#[test]
fn what_a_ref_pointed_to_before_is_read() {
    let read = |body: &str| before(Provider::Gitea, PUSH, body.to_owned());
    assert_eq!(read(payload!("gitea/branch-updated.json")), [Some(BEFORE.to_owned())]);
    assert_eq!(read(payload!("gitea/branch-forced.json")), [Some(BEFORE.to_owned())]);
    assert_eq!(read(payload!("gitea/branch-created.json")), [None]);
}

#[test]
fn the_events_beside_the_push_are_ignored() {
    let reason = "the event `create` is not a push";
    check_ignored(Provider::Gitea, "create", payload!("gitea/create.json"), reason);
    let reason = "the event `delete` is not a push";
    check_ignored(Provider::Gitea, "delete", payload!("gitea/delete.json"), reason);
}

#[test]
fn a_ref_that_is_neither_branch_nor_tag_is_ignored() {
    let body = payload!("gitea/branch-updated.json").replace("refs/heads/main", "refs/for/main");
    let ignored = EventKind::Ignored(r#""refs/for/main" is neither a branch nor a tag"#.to_owned());
    assert_eq!(parse(Provider::Gitea, PUSH, body), Ok(ignored));
}

#[test]
fn fields_at_fault_are_named() {
    let payload = payload!("gitea/branch-updated.json");
    let check = |from: &str, to: &str, message: &str| {
        assert!(payload.contains(from), "{from}");
        check_malformed(Provider::Gitea, PUSH, payload.replace(from, to), message);
    };
    check("refs/heads/main", "refs/heads/a..b", "not a ref name that git accepts");
    check(COMMIT, "5e1c309", "is not the full name of a commit");
    check(
        &format!(r#""after": "{COMMIT}""#),
        r#""after": null"#,
        "after: invalid type: null",
    );
    check(
        r#""full_name": "acme/app""#,
        r#""full_name": null"#,
        "repository.full_name: invalid type: null",
    );
    check(
        "\"ref\":",
        "\"ref\": \"refs/heads/x\", \"ref\":",
        "the key `ref` is there twice",
    );
    check_malformed(Provider::Gitea, PUSH, "{}", "missing field `ref`");
}

const BODY: &str = r#"{"ref":"refs/heads/main"}"#;
// $ printf '%s' '{"ref":"refs/heads/main"}' | openssl dgst -sha256 -hmac "It's a Secret to Everybody"
const SIGNATURE: &str = "6a42699496d8c4fb346af1c930df527931a321e28ada69dbc5ee82f438517fd2";

fn signed() -> Webhook {
    Webhook::new(Provider::Gitea, PUSH, BODY).with("x-gitea-signature", SIGNATURE)
}

/// With the headers of Forgejo, which repeat Gitea's.
fn of_forgejo() -> Webhook {
    signed()
        .with("x-forgejo-event", PUSH)
        .with("x-forgejo-delivery", "0b989ba4-242f-11e5-81e1-c7b6966d2516")
        .with("x-forgejo-signature", SIGNATURE)
}

#[test]
fn a_signature_by_openssl_is_verified_under_either_name() {
    assert!(signed().verify().is_ok());
    assert!(
        signed()
            .with("x-gitea-signature", &SIGNATURE.to_uppercase())
            .verify()
            .is_ok()
    );
    assert!(of_forgejo().verify().is_ok());
    let only_forgejo = of_forgejo()
        .without("x-gitea-event")
        .without("x-gitea-delivery")
        .without("x-gitea-signature");
    assert_eq!(only_forgejo.verified().unwrap().event(), PUSH);
}

#[test]
fn of_two_signatures_both_must_be_right() {
    let wrong = "0".repeat(64);
    check_unsigned(of_forgejo().with("x-gitea-signature", &wrong), "does not match");
    check_unsigned(of_forgejo().with("x-forgejo-signature", &wrong), "does not match");
    check_unsigned(of_forgejo().with("x-forgejo-signature", ""), "64 hexadecimal digits");
}

#[test]
fn a_signature_that_is_not_exactly_64_digits_is_refused() {
    for value in [
        &SIGNATURE[..63],
        &SIGNATURE[..62],
        &format!("{SIGNATURE}0"),
        &format!("{SIGNATURE}00"),
        &format!("sha256={SIGNATURE}"),
        &format!(" {SIGNATURE}"),
        &"g".repeat(64),
        &"é".repeat(32),
    ] {
        check_unsigned(
            signed().with("x-gitea-signature", value),
            "X-Gitea-Signature must be 64 hexadecimal digits",
        );
    }
    check_unsigned(signed().with_another("x-gitea-signature", SIGNATURE), "once");
}

#[test]
fn a_hook_without_a_secret_says_so() {
    check_unsigned(signed().with("x-gitea-signature", ""), "not signed");
    check_unsigned(signed().without("x-gitea-signature"), "not signed");
    assert!(signed().verify_with("").is_err());
}

#[test]
fn the_headers_named_after_github_are_no_substitute() {
    let named_after_github = |webhook: Webhook| {
        webhook
            .with("x-github-event", PUSH)
            .with("x-github-delivery", "1")
            .with("x-hub-signature-256", &format!("sha256={SIGNATURE}"))
    };
    check_unsigned(named_after_github(signed()).without("x-gitea-signature"), "not signed");
    for header in ["x-gitea-event", "x-gitea-delivery"] {
        let webhook = named_after_github(signed()).without(header);
        assert!(matches!(webhook.verify(), Err(Rejection::Malformed(_))), "{header}");
    }
}

#[test]
fn headers_that_do_not_say_the_same_are_refused() {
    for (header, value) in [("x-forgejo-event", "create"), ("x-forgejo-delivery", "another")] {
        match of_forgejo().with(header, value).verify() {
            Err(Rejection::Malformed(text)) => assert!(text.contains("do not say the same"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_body_of_which_one_byte_was_changed_is_refused() {
    for index in 0..BODY.len() {
        let mut body = BODY.as_bytes().to_vec();
        body[index] ^= 1;
        let changed = Webhook {
            body: body.into(),
            ..signed()
        };
        check_unsigned(changed, "does not match");
    }
}

fn form(body: &str) -> Webhook {
    Webhook {
        body: Bytes::copy_from_slice(body.as_bytes()),
        ..signed()
    }
    .with("content-type", FORM)
}

#[test]
fn of_a_form_the_json_in_it_is_what_is_signed() {
    let encoded: String = url::form_urlencoded::byte_serialize(BODY.as_bytes()).collect();
    let taken = form(&format!("payload={encoded}")).verified().unwrap();
    assert_eq!(taken.content_type(), FORM);
    assert!(matches!(taken.parse(), Err(Rejection::Malformed(text)) if text.contains("missing field `after`")));
    let other = encoded.replace("main", "mai%6E");
    assert!(form(&format!("payload={other}")).verify().is_ok(), "the same JSON");
    check_unsigned(form(&format!("payload={encoded}+")), "does not match");
    // GitHub's way: the form itself.
    let webhook = form(&format!("payload={encoded}"));
    let digits = webhook.digits();
    check_unsigned(webhook.with("x-gitea-signature", &digits), "does not match");
}

#[test]
fn a_form_that_cannot_be_read_cannot_be_verified() {
    for body in [
        "",
        "payload",
        "payload=%2",
        "payload=%FF",
        "payload=1&payload=1",
        "x=1",
        BODY,
    ] {
        let refused = form(body).verify();
        assert!(matches!(refused, Err(Rejection::Signature(_))), "{body} {refused:?}");
    }
}

#[test]
fn a_stored_form_parses_as_it_did_when_it_came() {
    let json = payload!("gitea/branch-updated.json");
    let encoded: String = url::form_urlencoded::byte_serialize(json.as_bytes()).collect();
    let digits = Webhook::new(Provider::Gitea, PUSH, json).digits();
    let webhook = form(&format!("payload={encoded}")).with("x-gitea-signature", &digits);
    let delivery = webhook.verified().unwrap();
    assert_eq!(
        delivery.parse().unwrap().kind,
        parse(Provider::Gitea, PUSH, json).unwrap()
    );
    let (event, id) = (PUSH.to_owned(), delivery.delivery_id().to_owned());
    let stored = VerifiedDelivery::from_ledger(Provider::Gitea, event, id, FORM, delivery.body().clone());
    assert_eq!(stored.unwrap(), delivery);
}
