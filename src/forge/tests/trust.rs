use super::*;
use crate::domain::event::EventKind;

fn ping() -> Webhook {
    Webhook::new(Provider::Github, "ping", "{}")
}

#[track_caller]
pub(super) fn check_unsigned(webhook: Webhook, message: &str) {
    match webhook.verify() {
        Err(Rejection::Signature(text)) => {
            assert!(text.contains(message), "{text}");
            assert!(!text.contains(&webhook.digits()), "the expected signature is told");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_public_vectors_are_verified() {
    let check = |provider, header, body: &'static str, digits: &str| {
        let mut webhook = Webhook::new(provider, "x", body);
        webhook
            .headers
            .insert(header, format!("sha256={digits}").parse().unwrap());
        assert!(webhook.verify().is_ok(), "{provider:?}");
        webhook
            .headers
            .insert(header, format!("sha256={}", digits.to_uppercase()).parse().unwrap());
        assert!(webhook.verify().is_ok(), "{provider:?} in upper case");
    };
    let github = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let bitbucket = "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
    check(Provider::Github, "x-hub-signature-256", "Hello, World!", github);
    check(Provider::Bitbucket, "x-hub-signature", "Hello World!", bitbucket);
    check(Provider::BitbucketServer, "x-hub-signature", "Hello World!", bitbucket);
}

#[test]
fn a_delivery_without_a_signature_is_refused() {
    check_unsigned(ping().without("x-hub-signature-256"), "not signed");
    for provider in [Provider::Bitbucket, Provider::BitbucketServer] {
        let webhook = Webhook::new(provider, "repo:push", "{}");
        check_unsigned(webhook.without("x-hub-signature"), "not signed");
    }
}

#[test]
fn sha_1_alone_is_refused_at_github() {
    let webhook = ping().without("x-hub-signature-256");
    check_unsigned(
        webhook.with("x-hub-signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"),
        "only a SHA-1 signature",
    );
}

#[test]
fn sha_1_is_refused_at_both_bitbuckets() {
    for provider in [Provider::Bitbucket, Provider::BitbucketServer] {
        let webhook = Webhook::new(provider, "repo:push", "{}");
        let sha1 = "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6";
        check_unsigned(webhook.with("x-hub-signature", sha1), "64 hexadecimal digits");
    }
}

#[test]
fn a_signature_that_is_not_exactly_the_prefix_and_64_digits_is_refused() {
    let digits = ping().digits();
    for value in [
        "",
        "sha256=",
        &digits,
        &format!("sha256={}", &digits[..63]),
        &format!("sha256={}", &digits[..62]),
        &format!("sha256={digits}0"),
        &format!("sha256={digits}00"),
        &format!("sha256=sha256={digits}"),
        &format!("SHA256={digits}"),
        &format!("sha256= {digits}"),
        &format!("sha1={digits}"),
        &format!("sha256={}", "g".repeat(64)),
        &format!("sha256={}", "é".repeat(32)),
        &format!("sha256={}é", &digits[..62]),
        &format!("sha256={digits}, sha256={digits}"),
    ] {
        check_unsigned(ping().with("x-hub-signature-256", value), "64 hexadecimal digits");
    }
}

#[test]
fn a_second_signature_is_refused_even_if_both_are_right() {
    let webhook = ping();
    let value = format!("sha256={}", webhook.digits());
    check_unsigned(webhook.with_another("x-hub-signature-256", &value), "once");
}

#[test]
fn a_signature_made_with_another_secret_is_refused() {
    for secret in ["another repository's secret", "It's a Secret to Everybod", ""] {
        let webhook = ping();
        let result = webhook.verify_with(secret);
        assert!(matches!(result, Err(Rejection::Signature(_))), "{secret}");
    }
}

#[test]
fn a_hook_without_a_secret_verifies_nothing() {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"").unwrap();
    mac.update(b"{}");
    let value = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let webhook = ping().with("x-hub-signature-256", &value);
    let result = webhook.verify_with("");
    assert!(matches!(result, Err(Rejection::Signature(_))));
}

#[test]
fn a_body_of_which_one_byte_was_changed_is_refused() {
    let original = Webhook::new(Provider::Github, "push", r#"{"ref": "refs/heads/main"}"#);
    for index in 0..original.body.len() {
        let mut body = original.body.to_vec();
        body[index] ^= 1;
        let changed = Webhook {
            body: body.into(),
            ..original.clone()
        };
        check_unsigned(changed, "does not match");
    }
}

#[test]
fn a_body_that_was_serialised_again_is_refused() {
    let original = Webhook::new(Provider::Github, "push", r#"{"ref": "refs/heads/main"}"#);
    let again = serde_json::from_slice::<serde_json::Value>(&original.body)
        .unwrap()
        .to_string();
    check_unsigned(
        Webhook {
            body: again.into(),
            ..original
        },
        "does not match",
    );
}

#[test]
fn one_forges_signature_is_not_anothers() {
    let webhook = Webhook {
        provider: Provider::Bitbucket,
        ..ping()
    };
    check_unsigned(webhook, "not signed");
    let webhook = Webhook {
        provider: Provider::Github,
        ..Webhook::new(Provider::Bitbucket, "repo:push", "{}")
    };
    check_unsigned(webhook, "only a SHA-1 signature");
}

#[test]
fn content_types_and_encodings_that_are_not_taken_are_refused_before_the_signature_is_looked_at() {
    let check = |webhook: Webhook| {
        let unsigned = webhook.clone().without(webhook.signature_header());
        for webhook in [webhook, unsigned] {
            assert!(
                matches!(webhook.verify(), Err(Rejection::Encoding(_))),
                "{:?}",
                webhook.headers
            );
        }
    };
    let form = "application/x-www-form-urlencoded";
    for content_type in [
        "text/plain",
        "",
        "application/jsonx",
        "application/json, text/plain",
        "é",
    ] {
        check(ping().with("content-type", content_type));
    }
    check(ping().without("content-type"));
    check(ping().with_another("content-type", "application/json"));
    for provider in [Provider::Bitbucket, Provider::BitbucketServer, Provider::Gitlab] {
        check(Webhook::new(provider, "repo:push", "{}").with("content-type", form));
    }
    for encoding in ["gzip", "br", "", "identity, gzip"] {
        check(ping().with("content-encoding", encoding));
    }
    check(
        ping()
            .with("content-encoding", "identity")
            .with_another("content-encoding", "gzip"),
    );
}

#[test]
fn content_types_have_parameters_and_any_case() {
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=UTF-8",
    ] {
        let delivery = ping().with("content-type", content_type).verified().unwrap();
        assert_eq!(delivery.content_type(), "application/json");
    }
    assert!(ping().with("content-encoding", "Identity").verified().is_ok());
}

#[test]
fn the_event_and_delivery_headers_must_be_there_once_once_the_signature_is_right() {
    let check = |provider, header: &'static str| {
        let webhook = Webhook::new(provider, "x", "{}");
        for webhook in [
            webhook.clone().without(header),
            webhook.clone().with(header, ""),
            webhook.clone().with(header, "é"),
            webhook.clone().with(header, &"a".repeat(256)),
            webhook.clone().with_another(header, "x"),
        ] {
            match webhook.verify() {
                Err(Rejection::Malformed(text)) => assert!(text.to_lowercase().contains(header), "{text}"),
                other => panic!("{other:?}"),
            }
        }
        let unsigned = webhook.clone().without(webhook.signature_header()).without(header);
        match unsigned.verify() {
            Err(Rejection::Signature(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    check(Provider::Gitlab, "x-gitlab-event");
    check(Provider::Gitlab, "idempotency-key");
    check(Provider::Gitea, "x-gitea-event");
    check(Provider::Gitea, "x-gitea-delivery");
    check(Provider::Github, "x-github-event");
    check(Provider::Github, "x-github-delivery");
    check(Provider::Bitbucket, "x-event-key");
    check(Provider::Bitbucket, "x-request-uuid");
    check(Provider::BitbucketServer, "x-event-key");
    check(Provider::BitbucketServer, "x-request-id");
}

#[test]
fn only_data_centers_ping_may_be_unsigned_and_it_yields_nothing_to_act_upon() {
    let unsigned = |provider: Provider, event| {
        let webhook = Webhook::new(provider, event, r#"{"test": true}"#);
        webhook.clone().without(webhook.signature_header())
    };
    let ping = unsigned(Provider::BitbucketServer, "diagnostics:ping");
    assert_eq!(ping.verify(), Ok(Verification::UnsignedPing));
    assert_eq!(
        ping.clone().without("x-request-id").verify(),
        Ok(Verification::UnsignedPing)
    );
    check_unsigned(ping.with_another("x-event-key", "repo:refs_changed"), "not signed");
    check_unsigned(unsigned(Provider::BitbucketServer, "repo:refs_changed"), "not signed");
    check_unsigned(unsigned(Provider::Bitbucket, "diagnostics:ping"), "not signed");
    check_unsigned(unsigned(Provider::Github, "ping"), "not signed");
}

#[test]
fn a_ping_with_a_wrong_signature_tells_that_the_secrets_differ() {
    let webhook = Webhook::new(Provider::BitbucketServer, "diagnostics:ping", "{}");
    let wrong = format!("sha256={}", "0".repeat(64));
    check_unsigned(webhook.with("x-hub-signature", &wrong), "does not match");
}

#[test]
fn a_verified_delivery_tells_what_it_is() {
    let delivery = ping().verified().unwrap();
    assert_eq!(delivery.provider(), Provider::Github);
    assert_eq!(delivery.event(), "ping");
    assert_eq!(delivery.delivery_id(), "0b989ba4-242f-11e5-81e1-c7b6966d2516");
    assert_eq!(delivery.body(), &Bytes::from("{}"));
}

#[test]
fn a_stored_delivery_parses_as_it_did_when_it_came() {
    let body = include_str!("../../../tests/payloads/github/branch-updated.json");
    let delivery = Webhook::new(Provider::Github, "push", body).verified().unwrap();
    let stored = VerifiedDelivery::from_ledger(
        delivery.provider(),
        delivery.event().to_owned(),
        delivery.delivery_id().to_owned(),
        delivery.content_type(),
        delivery.body().clone(),
    )
    .unwrap();
    assert_eq!(stored, delivery);
    assert!(matches!(stored.parse().unwrap().kind, EventKind::Push(_)));
}

#[test]
fn a_stored_delivery_of_no_known_content_type_is_refused() {
    let (event, id) = ("repo:push".to_owned(), "1".to_owned());
    let form = "application/x-www-form-urlencoded";
    let stored = VerifiedDelivery::from_ledger(Provider::Bitbucket, event, id, form, Bytes::new());
    assert!(matches!(stored, Err(Rejection::Encoding(_))));
}
