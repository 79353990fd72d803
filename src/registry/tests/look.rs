//! Looks and indexes, answered by registries that differ, stall and lie.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;

use super::support::{Fake, PASSWORD, answer, basic, bearer_demand, credentials, hasty_registries, registries, sha256};
use crate::registry::{Allowance, Found, Look, RegistryError};

const OLD: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
const NEW: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

async fn fake(respond: impl Fn(&str) -> Response<Body> + Send + Sync + 'static) -> Fake {
    Fake::start("127.0.0.1", move |request| respond(&request.method)).await
}

/// Looks for `app`, of which [`OLD`] is known.
async fn look(registry: &Fake) -> Result<Look, RegistryError> {
    registries().look(&registry.image("app"), Some(OLD), None).await
}

async fn found(respond: impl Fn(&str) -> Response<Body> + Send + Sync + 'static) -> Result<Found, RegistryError> {
    look(&fake(respond).await).await.map(|look| look.found)
}

fn methods(registry: &Fake) -> Vec<String> {
    registry.seen().into_iter().map(|request| request.method).collect()
}

fn stating(digest: &str) -> Response<Body> {
    answer(200, &[("docker-content-digest", digest)], "")
}

#[track_caller]
fn assert_malformed<T: std::fmt::Debug>(result: Result<T, RegistryError>, says: &str) {
    match result {
        Err(RegistryError::Malformed(why)) if why.contains(says) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_known_is_told_and_both_answers_mean_unchanged() {
    for respond in [|| answer(304, &[], ""), || stating(OLD)] {
        let registry = fake(move |_| respond()).await;
        assert_eq!(look(&registry).await.unwrap().found, Found::Unchanged);
        let [asked] = registry.seen().try_into().unwrap();
        assert_eq!(
            (asked.method.as_str(), asked.if_none_match),
            ("HEAD", Some(format!("\"{OLD}\"")))
        );
    }
}

#[tokio::test]
async fn a_tag_that_moved_or_went_is_found_so() {
    assert_eq!(found(|_| stating(NEW)).await, Ok(Found::Digest(NEW.to_owned())));
    let shaped = r#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#;
    for body in ["", "<html>", shaped] {
        assert_eq!(found(move |_| answer(404, &[], body)).await, Ok(Found::Gone));
    }
}

#[tokio::test]
async fn without_a_known_digest_nothing_is_told_and_a_304_is_no_answer() {
    let registry = fake(|_| answer(304, &[], "")).await;
    for known in [None, Some("latest"), Some("\r\nx: y")] {
        let result = registries().look(&registry.image("app"), known, None).await;
        assert_malformed(result, "304");
    }
    assert!(registry.seen().iter().all(|request| request.if_none_match.is_none()));
}

#[tokio::test]
async fn what_is_known_is_told_again_with_the_token() {
    let service = fake(|_| answer(200, &[], r#"{"token": "t", "expires_in": 300}"#)).await;
    let realm = format!("http://{}/token", service.host);
    let registry = Fake::start("127.0.0.1", move |request| match &request.authorization {
        Some(authorization) if authorization == "Bearer t" => answer(304, &[], ""),
        _ => bearer_demand(&realm),
    })
    .await;
    let asked = registries();
    for _ in 0..2 {
        let look = asked.look(&registry.image("app"), Some(OLD), None).await.unwrap();
        assert_eq!(look.found, Found::Unchanged);
    }
    assert_eq!(service.seen().len(), 1, "the token is remembered");
    let told: Vec<_> = registry
        .seen()
        .into_iter()
        .map(|request| request.if_none_match)
        .collect();
    assert_eq!(told, vec![Some(format!("\"{OLD}\"")); 3]);
}

#[tokio::test]
async fn the_manifest_is_fetched_only_where_its_digest_is_missing() {
    let registry = fake(|_| answer(200, &[], "manifest")).await;
    assert_eq!(look(&registry).await.unwrap().found, Found::Digest(sha256(b"manifest")));
    assert_eq!(methods(&registry), ["HEAD", "GET"]);

    let registry = fake(|method| answer(if method == "HEAD" { 200 } else { 304 }, &[], "")).await;
    assert_eq!(look(&registry).await.unwrap().found, Found::Unchanged);

    for status in [401, 403, 404, 405, 429, 500] {
        let registry = fake(move |_| answer(status, &[], "")).await;
        let _ = look(&registry).await;
        assert_eq!(methods(&registry), ["HEAD"], "{status}");
    }
}

#[tokio::test]
async fn an_image_converted_to_schema_1_is_refused_as_such() {
    let stated = |_: &str| answer(200, &[("content-type", SCHEMA_1), ("docker-content-digest", NEW)], "");
    assert_malformed(found(stated).await, "schema 1");
    assert_malformed(
        found(|_| answer(200, &[("content-type", SCHEMA_1)], "x")).await,
        "schema 1",
    );
    let late = |method: &str| match method {
        "HEAD" => answer(200, &[], ""),
        _ => answer(200, &[("content-type", SCHEMA_1)], "x"),
    };
    assert_malformed(found(late).await, "schema 1");
}

#[tokio::test]
async fn digests_that_contradict_are_no_answer() {
    assert_malformed(
        found(|_| answer(304, &[("docker-content-digest", NEW)], "")).await,
        "the digests differ",
    );
    let two = |_: &str| {
        answer(
            200,
            &[("docker-content-digest", OLD), ("docker-content-digest", NEW)],
            "",
        )
    };
    assert_malformed(found(two).await, "is none");
    let lying = |method: &str| match method {
        "HEAD" => answer(200, &[], ""),
        _ => answer(200, &[("docker-content-digest", NEW)], "manifest"),
    };
    assert_malformed(found(lying).await, "the digests differ");
}

#[tokio::test]
async fn what_a_registry_still_allows_is_read_from_its_last_answer() {
    let headers = [
        ("ratelimit-limit", "100;w=21600"),
        ("ratelimit-remaining", "76;w=21600"),
    ];
    let expected = Allowance {
        limit: 100,
        remaining: 76,
        window: Duration::from_secs(21_600),
    };
    for status in [200, 304, 404] {
        let mut headers = headers.to_vec();
        headers.push(("docker-content-digest", OLD));
        let registry = fake(move |_| answer(status, &headers, "")).await;
        assert_eq!(look(&registry).await.unwrap().allowance, Some(expected), "{status}");
    }
    assert_eq!(look(&fake(|_| stating(NEW)).await).await.unwrap().allowance, None);
}

#[tokio::test]
async fn a_registry_that_wants_to_be_left_alone_says_for_how_long() {
    for (status, header, expected) in [
        (429, Some("7"), Some(7)),
        (503, Some("30"), Some(30)),
        (503, Some("999999999"), Some(86_400)),
        (503, None, None),
        (429, None, None),
        (403, Some("7"), None),
    ] {
        let headers: Vec<_> = header.map(|wait| ("retry-after", wait)).into_iter().collect();
        let registry = fake(move |_| answer(status, &headers, "")).await;
        let error = look(&registry).await.unwrap_err();
        assert_eq!(
            error.retry_after(),
            expected.map(Duration::from_secs),
            "{status} {header:?}"
        );
        assert_eq!(error.retryable(), status != 403);
    }
}

#[tokio::test]
async fn an_index_is_taken_only_under_its_own_digest() {
    let index =
        format!(r#"{{"manifests": [{{"digest": "{OLD}", "platform": {{"os": "linux", "architecture": "amd64"}}}}]}}"#);
    let digest = sha256(index.as_bytes());
    let registry = Fake::start("127.0.0.1", move |request| match &request.authorization {
        None => answer(401, &[("www-authenticate", "Basic realm=x")], ""),
        Some(_) => answer(200, &[], index.clone()),
    })
    .await;
    let image = registry.image("app:1");
    let credentials = credentials(PASSWORD);
    let platforms = registries()
        .platforms(&image, &digest, Some(&credentials))
        .await
        .unwrap();
    assert_eq!(
        platforms.into_iter().collect::<Vec<_>>(),
        [("linux/amd64".to_owned(), OLD.to_owned())]
    );
    let asked = registry.seen().pop().unwrap();
    assert_eq!(asked.target, format!("/v2/app/manifests/{digest}"));
    assert_eq!(asked.authorization, Some(basic(super::support::USERNAME, PASSWORD)));
    let other = registries().platforms(&image, NEW, Some(&credentials)).await;
    assert_malformed(other, "the digests differ");
}

#[tokio::test]
async fn an_index_without_end_is_cut_off_and_a_slow_one_is_given_up() {
    let piece = Bytes::from(vec![b'['; 64 * 1024]);
    let endless = fake(move |_| {
        let piece = piece.clone();
        let pieces = std::iter::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        answer(200, &[], Body::from_stream(tokio_stream::iter(pieces)))
    })
    .await;
    let result = registries().platforms(&endless.image("app"), NEW, None).await;
    assert_malformed(result, "more than 8192 KiB");

    let stalls = fake(|_| {
        let pending = tokio_stream::pending::<Result<Bytes, std::io::Error>>();
        answer(200, &[], Body::from_stream(pending))
    })
    .await;
    let result = hasty_registries().platforms(&stalls.image("app"), NEW, None).await;
    assert!(matches!(result, Err(RegistryError::Unavailable { .. })), "{result:?}");
}

#[tokio::test]
async fn an_index_that_cannot_be_had_is_told_apart() {
    let ask = async |status: u16| {
        let registry = fake(move |_| answer(status, &[("retry-after", "5")], "")).await;
        registries()
            .platforms(&registry.image("app"), NEW, None)
            .await
            .unwrap_err()
    };
    assert!(matches!(ask(403).await, RegistryError::Refused(_)));
    assert!(matches!(ask(404).await, RegistryError::Malformed(_)));
    assert!(matches!(ask(304).await, RegistryError::Malformed(_)));
    for status in [429, 503] {
        assert_eq!(ask(status).await.retry_after(), Some(Duration::from_secs(5)));
    }
    let old = fake(|_| answer(200, &[("content-type", SCHEMA_1)], "x")).await;
    let result = registries().platforms(&old.image("app"), &sha256(b"x"), None).await;
    assert_malformed(result, "schema 1");
}

#[tokio::test]
async fn neither_a_look_nor_an_index_is_fetched_from_another_host() {
    let other = Fake::start("127.0.0.2", |_| stating(NEW)).await;
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = format!("http://{}/v2/app/manifests/latest", other.host);
        let registry = Fake::start("127.0.0.1", move |request| match &request.authorization {
            None => answer(401, &[("www-authenticate", "Basic realm=x")], ""),
            Some(_) => answer(status, &[("location", &elsewhere)], ""),
        })
        .await;
        let (image, credentials) = (registry.image("app"), credentials(PASSWORD));
        let asked = registries();
        assert_malformed(asked.look(&image, Some(OLD), Some(&credentials)).await, "redirects");
        assert_malformed(asked.platforms(&image, NEW, Some(&credentials)).await, "redirects");
    }
    assert_eq!(other.seen(), []);
}

#[tokio::test]
async fn an_index_that_is_not_what_it_says_is_refused_by_its_digest_before_it_is_read() {
    for (stated, body) in [(NEW, "[".repeat(1 << 20)), (OLD, "{}".to_owned())] {
        let registry = fake(move |_| answer(200, &[("docker-content-digest", stated)], body.clone())).await;
        let result = registries().platforms(&registry.image("app"), NEW, None).await;
        assert_malformed(result, "the digests differ");
    }
}
