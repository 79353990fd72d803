//! Servers that lie, stall, and try to have credentials sent elsewhere.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::Response;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::support::{
    Fake, PASSWORD, USERNAME, answer, basic, bearer_demand, credentials, hasty_registries, registries, sha256,
};
use crate::domain::image::ImageReference;
use crate::registry::{RegistryCredentials, RegistryError, RegistryKind};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn with_digest() -> Response<Body> {
    answer(200, &[("docker-content-digest", DIGEST)], "")
}

fn token(text: &str) -> Response<Body> {
    answer(200, &[], format!(r#"{{"token": "{text}", "expires_in": 300}}"#))
}

/// A registry that lets in whoever shows this token, and sends others to `realm`.
async fn token_registry(realm: String, token: &'static str) -> Fake {
    Fake::start("127.0.0.1", move |request| {
        if request.authorization.as_deref() == Some(&format!("Bearer {token}")) {
            with_digest()
        } else {
            bearer_demand(&realm)
        }
    })
    .await
}

/// A body without end.
fn endless() -> Body {
    let piece = Bytes::from(vec![b' '; 64 * 1024]);
    Body::from_stream(tokio_stream::iter(std::iter::repeat_with(move || {
        Ok::<_, std::io::Error>(piece.clone())
    })))
}

#[track_caller]
fn assert_malformed<T: std::fmt::Debug>(result: Result<T, RegistryError>) {
    assert!(matches!(result, Err(RegistryError::Malformed(_))), "{result:?}");
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, RegistryError>) {
    let error = result.unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable { .. }), "{error:?}");
    assert!(error.retryable());
}

#[tokio::test]
async fn credentials_do_not_reach_a_token_service_on_another_host() {
    let thief = Fake::start("127.0.0.2", |_| token("loot")).await;
    let registry = token_registry(format!("http://{}/token", thief.host), "loot").await;
    let credentials = credentials(PASSWORD);
    let expected = RegistryError::UntrustedRealm {
        registry: registry.host.clone(),
        realm: thief.host.clone(),
    };
    let asked = registries();
    assert_eq!(
        asked.check_realm(&registry.host, &credentials).await,
        Err(expected.clone())
    );
    assert_eq!(asked.verify(&registry.host, &credentials).await, Err(expected.clone()));
    assert_eq!(
        asked.digest(&registry.image("app"), Some(&credentials)).await,
        Err(expected.clone())
    );
    assert_eq!(thief.seen(), []);
    assert!(registry.seen().iter().all(|request| request.authorization.is_none()));
    let said = expected.to_string();
    assert!(said.contains(&thief.host) && said.contains("trusted realms"), "{said}");
    assert!(!expected.retryable());
}

#[tokio::test]
async fn a_realm_hidden_behind_a_good_one_is_found() {
    let good = Fake::start("127.0.0.1", |_| token("t")).await;
    let thief = Fake::start("127.0.0.2", |_| token("loot")).await;
    let one = format!(r#"Bearer realm="http://{}/token""#, good.host);
    let other = format!(r#"Bearer realm="http://{}/token""#, thief.host);
    let in_one_header = format!("{one}, {other}");
    let registry = Fake::start("127.0.0.1", move |request| match request.target.as_str() {
        "/v2/" => answer(401, &[("www-authenticate", &one), ("www-authenticate", &other)], ""),
        _ => answer(401, &[("www-authenticate", &in_one_header)], ""),
    })
    .await;
    let credentials = credentials(PASSWORD);
    for result in [
        registries()
            .check_realm(&registry.host, &credentials)
            .await
            .map(|_| None),
        registries().digest(&registry.image("app"), Some(&credentials)).await,
    ] {
        assert!(
            matches!(&result, Err(RegistryError::UntrustedRealm { realm, .. }) if *realm == thief.host),
            "{result:?}"
        );
    }
    assert_eq!((good.seen(), thief.seen()), (vec![], vec![]));
}

#[tokio::test]
async fn a_listed_token_service_gets_the_password_and_the_registry_the_token_alone() {
    let service = Fake::start("127.0.0.2", |_| token("granted")).await;
    let realm = format!("http://{}/token?tenant=a", service.host);
    let registry = token_registry(realm.clone(), "granted").await;
    let credentials = RegistryCredentials {
        trusted_realms: vec![service.host.clone()],
        ..credentials(PASSWORD)
    };
    let image = registry.image("team/app");
    assert_eq!(
        registries().digest(&image, Some(&credentials)).await,
        Ok(Some(DIGEST.to_owned()))
    );

    let [asked] = service.seen().try_into().unwrap();
    assert_eq!(asked.authorization, Some(basic(USERNAME, PASSWORD)));
    let query = "tenant=a&service=fake&scope=repository%3Ateam%2Fapp%3Apull&account=robot";
    assert_eq!(
        asked.target,
        format!("/token?{query}"),
        "the scope is ours, whatever the registry demands"
    );
    let shown: Vec<_> = registry
        .seen()
        .into_iter()
        .map(|request| request.authorization)
        .collect();
    assert_eq!(shown, [None, Some("Bearer granted".to_owned())]);

    let kind = RegistryKind::Token { realm };
    assert_eq!(registries().verify(&registry.host, &credentials).await, Ok(kind));
}

#[tokio::test]
async fn without_credentials_no_bare_address_is_asked_for_a_token() {
    let metadata = Fake::start("127.0.0.2", |_| token("t")).await;
    let registry = token_registry(format!("http://{}/latest", metadata.host), "t").await;
    let result = registries().digest(&registry.image("app"), None).await;
    assert!(
        matches!(result, Err(RegistryError::UntrustedRealm { .. })),
        "{result:?}"
    );
    assert_eq!(metadata.seen(), []);
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_until_it_ends_or_is_refused() {
    let service = Fake::start("127.0.0.1", |request| {
        let short = request.target.contains("short");
        let lifetime = if short { 0 } else { 300 };
        answer(
            200,
            &[],
            format!(r#"{{"access_token": "t", "expires_in": {lifetime}}}"#),
        )
    })
    .await;
    let registry = token_registry(format!("http://{}/token", service.host), "t").await;
    let asked = registries();
    for (name, requests) in [("app", 1), ("app", 1), ("other", 2), ("short", 3), ("short", 4)] {
        let digest = asked.digest(&registry.image(name), None).await;
        assert_eq!(digest, Ok(Some(DIGEST.to_owned())));
        assert_eq!(service.seen().len(), requests, "{name}");
    }
    let with_password = asked.digest(&registry.image("app"), Some(&credentials(PASSWORD))).await;
    assert_eq!(with_password, Ok(Some(DIGEST.to_owned())));
    assert_eq!(service.seen().len(), 5, "nobody uses another account's token");
}

#[tokio::test]
async fn a_registry_that_never_lets_in_is_asked_twice() {
    let service = Fake::start("127.0.0.1", |_| token("t")).await;
    let registry = token_registry(format!("http://{}/token", service.host), "another").await;
    let result = registries()
        .digest(&registry.image("app"), Some(&credentials(PASSWORD)))
        .await;
    assert!(matches!(result, Err(RegistryError::Refused(_))), "{result:?}");
    assert_eq!((registry.seen().len(), service.seen().len()), (2, 1));
}

#[tokio::test]
async fn token_services_in_trouble_are_told_apart() {
    let ask = async |respond: fn() -> Response<Body>| {
        let service = Fake::start("127.0.0.1", move |_| respond()).await;
        let registry = token_registry(format!("http://{}/token", service.host), "t").await;
        registries()
            .digest(&registry.image("app"), Some(&credentials(PASSWORD)))
            .await
    };
    assert_malformed(ask(|| answer(200, &[], "<html>")).await);
    assert_malformed(ask(|| answer(200, &[], "{}")).await);
    assert_malformed(ask(|| answer(200, &[], endless())).await);
    assert_malformed(ask(|| answer(200, &[], r#"{"token": "a\u000ab"}"#)).await);
    assert_malformed(ask(|| answer(404, &[], "")).await);
    assert_unavailable(ask(|| answer(500, &[], "")).await);
    let refused = ask(|| answer(401, &[], "")).await;
    assert!(matches!(refused, Err(RegistryError::Refused(_))), "{refused:?}");
    let limited = ask(|| answer(429, &[("retry-after", "9")], "")).await.unwrap_err();
    assert!(matches!(limited, RegistryError::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() == 9));
}

#[tokio::test]
async fn demands_that_make_no_sense_are_refused() {
    for challenge in [
        "",
        "Bearer",
        "Bearer realm=\"\"",
        "Bearer realm=\"/token\"",
        "Negotiate",
        "Bearer realm=\"x",
        "é",
    ] {
        let registry = Fake::start("127.0.0.1", move |_| {
            let mut answer = answer(401, &[], "");
            let value = axum::http::HeaderValue::from_bytes(challenge.as_bytes()).unwrap();
            answer.headers_mut().insert("www-authenticate", value);
            answer
        })
        .await;
        assert_malformed(registries().check_realm(&registry.host, &credentials(PASSWORD)).await);
        assert_malformed(registries().digest(&registry.image("app"), None).await);
    }
}

#[tokio::test]
async fn a_realm_with_a_user_name_in_it_is_not_asked() {
    let service = Fake::start("127.0.0.1", |_| token("t")).await;
    let registry = token_registry(format!("http://a:b@{}/token", service.host), "t").await;
    assert_malformed(registries().digest(&registry.image("app"), None).await);
    assert_eq!(service.seen(), []);
}

#[tokio::test]
async fn a_missing_digest_is_made_from_the_manifest() {
    let registry = Fake::start("127.0.0.1", |_| answer(200, &[], "manifest")).await;
    let digest = registries().digest(&registry.image("app"), None).await;
    assert_eq!(digest, Ok(Some(sha256(b"manifest"))));
    let methods: Vec<_> = registry.seen().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
}

#[tokio::test]
async fn a_stated_digest_costs_no_pull() {
    let registry = Fake::start("127.0.0.1", |_| with_digest()).await;
    let digest = registries().digest(&registry.image("app"), None).await;
    assert_eq!(digest, Ok(Some(DIGEST.to_owned())));
    let methods: Vec<_> = registry.seen().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["HEAD"]);
}

#[tokio::test]
async fn an_endless_manifest_is_cut_off() {
    let registry = Fake::start("127.0.0.1", |_| answer(200, &[], endless())).await;
    assert_malformed(registries().digest(&registry.image("app"), None).await);
}

#[tokio::test]
async fn digests_that_contradict_the_manifest_or_the_question_are_no_answer() {
    let registry = Fake::start("127.0.0.1", |request| match request.method.as_str() {
        "HEAD" => answer(200, &[], ""),
        _ => answer(200, &[("docker-content-digest", DIGEST)], "manifest"),
    })
    .await;
    assert_malformed(registries().digest(&registry.image("app"), None).await);

    let registry = Fake::start("127.0.0.1", |_| with_digest()).await;
    let pinned = registry.image(&format!("app@{}", sha256(b"another")));
    assert_malformed(registries().digest(&pinned, None).await);

    for nonsense in ["", "latest", "sha256:00", "sha512:00", "sha256:<script>"] {
        let registry = Fake::start("127.0.0.1", move |_| {
            answer(200, &[("docker-content-digest", nonsense)], "")
        })
        .await;
        assert_malformed(registries().digest(&registry.image("app"), None).await);
    }
}

#[tokio::test]
async fn failures_are_split_by_what_to_do_next() {
    let ask = async |respond: fn() -> Response<Body>| {
        let registry = Fake::start("127.0.0.1", move |_| respond()).await;
        registries().digest(&registry.image("app"), None).await
    };
    for status in [408, 500, 502, 503, 504] {
        let registry = Fake::start("127.0.0.1", move |_| answer(status, &[], "")).await;
        assert_unavailable(registries().digest(&registry.image("app"), None).await);
        assert_unavailable(registries().verify(&registry.host, &credentials(PASSWORD)).await);
        assert_eq!(registry.seen().len(), 2, "the caller retries, with its own patience");
    }
    let wait = |result: Result<Option<String>, RegistryError>| match result {
        Err(RegistryError::RateLimited { retry_after, .. }) => retry_after.map(|wait| wait.as_secs()),
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(ask(|| answer(429, &[("retry-after", "7")], "")).await), Some(7));
    assert_eq!(wait(ask(|| answer(429, &[], "")).await), None);
    let date = || answer(429, &[("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT")], "");
    assert_eq!(wait(ask(date).await), Some(86_400), "a century is not waited for");
    let refused = ask(|| answer(403, &[], "")).await.unwrap_err();
    assert!(
        matches!(refused, RegistryError::Refused(_)) && !refused.retryable(),
        "{refused:?}"
    );
    assert_malformed(ask(|| answer(418, &[], "")).await);
    assert_malformed(ask(|| answer(304, &[], "")).await);
}

#[tokio::test]
async fn a_server_that_is_no_registry_is_not_taken_for_one() {
    let server = Fake::start("127.0.0.1", |_| answer(404, &[], "")).await;
    assert_malformed(registries().check_realm(&server.host, &credentials(PASSWORD)).await);
    assert_malformed(registries().verify(&server.host, &credentials(PASSWORD)).await);
}

#[tokio::test]
async fn redirects_to_another_host_are_not_followed() {
    let other = Fake::start("127.0.0.2", |_| with_digest()).await;
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = format!("http://{}/v2/app/manifests/latest", other.host);
        let registry = Fake::start("127.0.0.1", move |request| match request.authorization {
            None => answer(401, &[("www-authenticate", "Basic realm=x")], ""),
            Some(_) => answer(status, &[("location", &elsewhere)], ""),
        })
        .await;
        assert_malformed(
            registries()
                .digest(&registry.image("app"), Some(&credentials(PASSWORD)))
                .await,
        );
    }
    let elsewhere = format!("http://{}/token", other.host);
    let service = Fake::start("127.0.0.1", move |_| answer(307, &[("location", &elsewhere)], "")).await;
    let registry = token_registry(format!("http://{}/token", service.host), "t").await;
    assert_malformed(registries().verify(&registry.host, &credentials(PASSWORD)).await);
    assert_eq!(other.seen(), []);
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed_but_not_for_ever() {
    let registry = Fake::start("127.0.0.1", |request| match request.target.as_str() {
        "/v2/app/manifests/latest" => answer(307, &[("location", "/moved")], ""),
        "/moved" => with_digest(),
        _ => answer(307, &[("location", "/v2/circle/manifests/latest")], ""),
    })
    .await;
    assert_eq!(
        registries().digest(&registry.image("app"), None).await,
        Ok(Some(DIGEST.to_owned()))
    );
    let before = registry.seen().len();
    assert_malformed(registries().digest(&registry.image("circle"), None).await);
    assert_eq!(registry.seen().len() - before, 4);
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let never_ending = Fake::start("127.0.0.1", |request| match request.method.as_str() {
        "HEAD" => answer(200, &[], ""),
        _ => answer(
            200,
            &[],
            Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>()),
        ),
    })
    .await;
    for host in [silent.local_addr().unwrap().to_string(), never_ending.host.clone()] {
        let image = ImageReference::parse(&format!("{host}/app")).unwrap();
        let start = Instant::now();
        assert_unavailable(hasty_registries().digest(&image, None).await);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn what_is_not_there_or_speaks_no_http_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let image = ImageReference::parse(&format!("{host}/app")).unwrap();
    let speaker = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        }
    });
    assert_unavailable(registries().digest(&image, None).await);
    speaker.await.unwrap();
    assert_unavailable(registries().digest(&image, None).await);
    assert_unavailable(registries().verify(&host, &credentials(PASSWORD)).await);
}
