//! The whole way, against a provider that says and signs what the test wants: mostly what a real one never would.

mod provider;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use self::provider::{Key, Provider};
use super::*;
use crate::oidc::Identity;

const REDIRECT: &str = "https://hub.example.com/sign-in/oidc/callback";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

/// A client of a provider, with an attempt that was begun.
struct Client {
    oidc: Oidc,
    attempt: Attempt,
    url: url::Url,
}

impl Client {
    async fn begin(provider: &Provider) -> Self {
        let oidc = Oidc::new(OidcConfig {
            issuer: provider.issuer.clone(),
            client_id: "hullworks".to_owned(),
            client_secret: "s3cret/+".into(),
            wants_groups: true,
        })
        .unwrap();
        let (url, attempt) = oidc.begin(REDIRECT).await.unwrap();
        Self {
            oidc,
            attempt,
            url: url.parse().unwrap(),
        }
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let found = self.url.query_pairs().find(|(known, _)| known == name);
        found.map(|(_, value)| value.into_owned())
    }

    /// Comes back with a token of these claims, on top of the right ones.
    async fn come_back(&self, provider: &Provider, key: &Key, claims: &[(&str, Value)]) -> Result<Identity, OidcError> {
        let mut all = json!({
            "iss": provider.issuer, "sub": "ann-1", "aud": "hullworks", "nonce": self.parameter("nonce").unwrap(),
            "iat": now().timestamp(), "exp": now().timestamp() + 600,
            "email": "ann@example.com", "preferred_username": "ann", "groups": ["staff"],
        });
        for (name, value) in claims {
            all[*name] = value.clone();
        }
        provider.answer_with(&key.sign(&all));
        self.complete().await
    }

    async fn complete(&self) -> Result<Identity, OidcError> {
        let answer = Answer {
            code: "the-code",
            issuer: None,
        };
        self.oidc.complete(self.attempt.clone(), REDIRECT, answer, now()).await
    }
}

fn untrusted(result: Result<Identity, OidcError>, case: &str) -> String {
    match result {
        Err(OidcError::Untrusted(why)) => why,
        other => panic!("{case}: {other:?}"),
    }
}

#[tokio::test]
async fn the_way_to_the_provider_carries_state_nonce_and_challenge_and_the_way_back_proves_them() {
    let key = Key::new("one", Algorithm::ES256);
    let provider = Provider::start(&[&key]).await;
    let client = Client::begin(&provider).await;
    assert!(client.url.as_str().starts_with(&format!("{}/auth?", provider.issuer)));
    assert_eq!(client.parameter("response_type").as_deref(), Some("code"));
    assert_eq!(client.parameter("redirect_uri").as_deref(), Some(REDIRECT));
    assert_eq!(client.parameter("scope").as_deref(), Some("openid profile email"));
    assert_eq!(client.parameter("code_challenge_method").as_deref(), Some("S256"));
    let state = client.parameter("state").unwrap();
    assert!(client.attempt.has_state(&state) && !client.attempt.has_state("another") && !client.attempt.has_state(""));

    let ann = client.come_back(&provider, &key, &[]).await.unwrap();
    assert_eq!((ann.subject.as_str(), ann.issuer == provider.issuer), ("ann-1", true));
    assert_eq!(
        (ann.email.as_deref(), ann.username.as_deref()),
        (Some("ann@example.com"), Some("ann"))
    );
    assert!(ann.is_in("staff"));

    let exchange = provider.last_exchange();
    let field = |name: &str| exchange.field(name);
    assert_eq!(field("grant_type").as_deref(), Some("authorization_code"));
    assert_eq!(field("code").as_deref(), Some("the-code"));
    let verifier = oauth2::PkceCodeVerifier::new(field("code_verifier").unwrap());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    assert_eq!(client.parameter("code_challenge").as_deref(), Some(challenge.as_str()));
    // The secret in the header, percent-encoded before base64 (RFC 6749, 2.3.1).
    assert_eq!(exchange.authorization, "Basic aHVsbHdvcmtzOnMzY3JldCUyRiUyQg==");
}

#[tokio::test]
async fn every_kind_of_key_that_proves_something_is_taken() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA] {
        let key = Key::new("one", algorithm);
        let provider = Provider::start(&[&key]).await;
        let client = Client::begin(&provider).await;
        client.come_back(&provider, &key, &[]).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_for_others_or_of_another_time_is_refused() {
    let key = Key::new("one", Algorithm::ES256);
    let provider = Provider::start(&[&key]).await;
    let client = Client::begin(&provider).await;
    let long_ago = (now() - TimeDelta::days(1)).timestamp();
    for (name, value) in [
        ("aud", json!("another-service")),
        ("iss", json!("https://evil.example.com")),
        ("nonce", json!("of-another-attempt")),
        ("exp", json!(long_ago)),
        ("iat", json!(long_ago)),
        ("azp", json!("another-service")),
    ] {
        let result = client.come_back(&provider, &key, &[(name, value)]).await;
        untrusted(result, name);
    }
}

#[tokio::test]
async fn a_token_that_another_key_signed_is_refused() {
    let (key, other) = (Key::new("one", Algorithm::ES256), Key::new("one", Algorithm::ES256));
    let provider = Provider::start(&[&key]).await;
    let client = Client::begin(&provider).await;
    let why = untrusted(
        client.come_back(&provider, &other, &[]).await,
        "another key of the same name",
    );
    assert!(why.contains("signature"), "{why}");
    let other_kind = Key::new("one", Algorithm::EdDSA);
    untrusted(
        client.come_back(&provider, &other_kind, &[]).await,
        "a key of another kind",
    );
}

#[tokio::test]
async fn a_token_without_signature_or_with_a_shared_secret_is_refused() {
    let key = Key::new("one", Algorithm::ES256);
    let provider = Provider::start(&[&key]).await;
    let client = Client::begin(&provider).await;
    let claims = json!({
        "iss": provider.issuer, "sub": "ann-1", "aud": "hullworks", "nonce": client.parameter("nonce").unwrap(),
        "iat": now().timestamp(), "exp": now().timestamp() + 600,
    });
    let signed = key.sign(&claims);
    for token in [
        provider::unsigned("none", &claims),
        provider::unsigned("None", &claims),
        provider::signed_with_public_key(&key, &claims),
        provider::signed_with_secret(b"s3cret/+", &claims),
        signed.rsplit_once('.').unwrap().0.to_owned() + ".",
        "..".to_owned(),
        "not a token".to_owned(),
        "x".repeat(100_000),
    ] {
        provider.answer_with(&token);
        untrusted(client.complete().await, &token[..token.len().min(80)]);
    }
}

#[tokio::test]
async fn a_key_that_came_later_is_found_and_unknown_ones_are_asked_for_seldom() {
    let (old, new) = (Key::new("old", Algorithm::ES256), Key::new("new", Algorithm::ES256));
    let provider = Provider::start(&[&old]).await;
    let client = Client::begin(&provider).await;
    client.come_back(&provider, &old, &[]).await.unwrap();
    assert_eq!(provider.keys_asked(), 1);
    for _ in 0..20 {
        untrusted(client.come_back(&provider, &new, &[]).await, "an unknown key");
    }
    assert!(provider.keys_asked() <= 2, "asked {} times", provider.keys_asked());

    let client = Client::begin(&provider).await;
    client.come_back(&provider, &old, &[]).await.unwrap();
    provider.has_keys(&[&new]);
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    tokio::time::resume();
    client.come_back(&provider, &new, &[]).await.unwrap();
}

#[tokio::test]
async fn what_the_id_token_lacks_is_asked_for_and_must_be_about_the_same_person() {
    let key = Key::new("one", Algorithm::ES256);
    let provider = Provider::start(&[&key]).await;
    let client = Client::begin(&provider).await;
    let without = [("email", Value::Null), ("groups", Value::Null)];
    provider.knows_of(json!({"sub": "ann-1", "email": "told@example.com", "groups": ["root"]}));
    let ann = client.come_back(&provider, &key, &without).await.unwrap();
    assert_eq!(ann.email.as_deref(), Some("told@example.com"));
    assert!(ann.is_in("root"));
    provider.knows_of(json!({"sub": "bob-2", "email": "bob@example.com"}));
    untrusted(client.come_back(&provider, &key, &without).await, "somebody else");
}

#[tokio::test]
async fn a_provider_that_is_away_refuses_or_floods_is_told_apart() {
    let key = Key::new("one", Algorithm::ES256);
    let provider = Provider::start(&[&key]).await;
    let client = Client::begin(&provider).await;
    let check = async |status: u16, body: String, expected: &str| {
        provider.answer_raw(status, body);
        let error = client.complete().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        error
    };
    let refused = check(400, json!({"error": "invalid_grant"}).to_string(), "invalid_grant").await;
    assert!(matches!(refused, OidcError::Refused(_)));
    let failing = check(503, String::new(), "503").await;
    assert!(matches!(failing, OidcError::Unavailable(_)));
    check(200, "no JSON".to_owned(), "token answer").await;
    check(
        200,
        format!("{{\"x\": \"{}\"}}", "x".repeat(300 << 10)),
        "more than 256 KiB",
    )
    .await;
    let without = json!({"access_token": "a", "token_type": "Bearer"});
    check(200, without.to_string(), "no ID token").await;
}

#[tokio::test]
async fn a_provider_is_not_asked_where_it_redirects_to() {
    let provider = Provider::start(&[]).await;
    let oidc = Oidc::new(OidcConfig {
        issuer: format!("{}/elsewhere", provider.issuer),
        client_id: "hullworks".to_owned(),
        client_secret: "secret".into(),
        wants_groups: false,
    })
    .unwrap();
    let error = oidc.begin(REDIRECT).await.unwrap_err();
    assert!(error.to_string().contains("307"), "{error}");
}
