//! Gets access: reads what a registry's 401 asks for, and fetches and remembers tokens.
//!
//! The flow: <https://distribution.github.io/distribution/spec/auth/token/>. A password is sent to a token service only
//! after [`realm`] said that it may see it, and a token only to the registry that it was fetched for.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use super::challenge::{self, Challenge};
use super::token_cache::TokenKey;
use super::{Registries, RegistryCredentials, RegistryError, http, realm};

/// How long a token is good for where its service does not say, by the specification.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// No token is remembered for longer, whatever its service says.
const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Longest answer of a token service, in bytes. Tokens with many grants reach a few KiB.
const MAX_ANSWER: usize = 64 * 1024;

/// How a registry wants to be shown who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Demand {
    /// The password itself.
    Basic,
    /// A token, to be fetched from `realm`.
    Token { realm: Url, service: Option<String> },
}

/// Reads a registry's 401, and checks that its token services, if any, may be asked with these credentials.
pub(super) fn demand(
    registry: &str,
    answer: &Response,
    credentials: Option<&RegistryCredentials>,
    insecure: &[String],
) -> Result<Demand, RegistryError> {
    let malformed = || RegistryError::Malformed(format!("{registry} does not say clearly how to sign in to it"));
    let mut challenges: Vec<Challenge> = Vec::new();
    for header in answer.headers().get_all(WWW_AUTHENTICATE) {
        let header = header.to_str().map_err(|_| malformed())?;
        challenges.extend(challenge::parse(header).ok_or_else(malformed)?);
    }
    // All of them are checked, because the engine is free to use any.
    let mut demanded = None;
    for challenge in challenges.iter().filter(|challenge| challenge.scheme == "bearer") {
        let realm = challenge.parameter("realm").ok_or_else(malformed)?;
        let realm = Url::parse(realm).map_err(|_| malformed())?;
        let trusted = match credentials {
            Some(RegistryCredentials { trusted_realms, .. }) => {
                realm::may_see_credentials(registry, answer.url(), &realm, trusted_realms, insecure)
            }
            None => realm::may_be_asked_anonymously(registry, answer.url(), &realm, insecure),
        };
        if !trusted {
            return Err(RegistryError::UntrustedRealm {
                registry: registry.to_owned(),
                realm: host_of(&realm),
            });
        }
        demanded.get_or_insert(Demand::Token {
            realm,
            service: challenge.parameter("service").map(str::to_owned),
        });
    }
    let basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
    demanded.or(basic.then_some(Demand::Basic)).ok_or_else(malformed)
}

impl Registries {
    /// Meets a registry's demand: the value of an `Authorization` header for it. Without a scope, a token allows
    /// nothing but to be recognised; such a one is not remembered.
    pub(super) async fn authorise(
        &self,
        registry: &str,
        demand: Demand,
        scope: Option<&str>,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<HeaderValue, RegistryError> {
        match (demand, credentials) {
            (Demand::Basic, Some(credentials)) => basic(credentials),
            (Demand::Basic, None) => Err(RegistryError::Refused(format!(
                "{registry} wants a user name and password, and none are stored for it"
            ))),
            (Demand::Token { realm, service }, credentials) => {
                let token = self.fetch_token(registry, realm, service, scope, credentials).await?;
                let authorization = token.authorization.clone();
                if let Some(scope) = scope {
                    let key = TokenKey::new(registry, scope, credentials);
                    self.shared
                        .tokens
                        .put(key, token.authorization, token.lifetime, Instant::now());
                }
                Ok(authorization)
            }
        }
    }

    /// The token that was fetched for the same before, if it is still good.
    pub(super) fn remembered(
        &self,
        registry: &str,
        scope: &str,
        credentials: Option<&RegistryCredentials>,
    ) -> Option<HeaderValue> {
        let key = TokenKey::new(registry, scope, credentials);
        self.shared.tokens.get(&key, Instant::now())
    }

    async fn fetch_token(
        &self,
        registry: &str,
        mut realm: Url,
        service: Option<String>,
        scope: Option<&str>,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Token, RegistryError> {
        let host = host_of(&realm);
        // What an address says about users cannot be meant for us.
        if !realm.username().is_empty() || realm.password().is_some() {
            return Err(RegistryError::Malformed(format!(
                "{registry} names a token service with a user name in it"
            )));
        }
        let account = credentials.map(|credentials| credentials.username.as_str());
        let questions = [("service", service.as_deref()), ("scope", scope), ("account", account)];
        let questions = questions.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        realm.query_pairs_mut().extend_pairs(questions);
        realm.set_fragment(None);

        let mut request = self.shared.http.get(realm);
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, basic(credentials)?);
        }
        let answer = request.send().await.map_err(|error| http::unreachable(&host, &error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(RegistryError::Refused(match credentials {
                    Some(_) => format!("{host} refuses the user name or password stored for {registry}"),
                    None => format!("{registry} wants a user name and password, and none are stored for it"),
                }));
            }
            _ => return Err(http::failure(&host, "a token", &answer)),
        }
        let mut body = Vec::new();
        http::read_body(&host, answer, MAX_ANSWER, |chunk| body.extend_from_slice(chunk)).await?;
        read_token(&body)
            .ok_or_else(|| RegistryError::Malformed(format!("{host} answered with something else than a token")))
    }
}

/// A token service's answer, as far as it is of use.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<serde_json::Number>,
}

/// A token, as it is shown to the registry.
struct Token {
    authorization: HeaderValue,
    lifetime: Duration,
}

fn read_token(body: &[u8]) -> Option<Token> {
    let answer: TokenAnswer = serde_json::from_slice(body).ok()?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
    let lifetime = answer.expires_in.and_then(|seconds| seconds.as_u64());
    Some(Token {
        authorization: sensitive(&format!("Bearer {token}"))?,
        lifetime: lifetime.map_or(DEFAULT_LIFETIME, Duration::from_secs).min(MAX_LIFETIME),
    })
}

fn basic(credentials: &RegistryCredentials) -> Result<HeaderValue, RegistryError> {
    let pair = format!("{}:{}", credentials.username, credentials.password.expose_secret());
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
        .ok_or_else(|| RegistryError::Malformed("the stored user name or password cannot be sent".to_owned()))
}

/// A header that is not shown in debug output.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Host, with the port where it is not the usual one.
fn host_of(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.scheme().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn token_answers_are_read_in_all_their_forms() {
        let check = |body: &str, expected: Option<(&str, u64)>| {
            let token = read_token(body.as_bytes());
            let seen = token
                .as_ref()
                .map(|token| (token.authorization.to_str().unwrap(), token.lifetime.as_secs()));
            assert_eq!(seen, expected, "{body}");
        };
        check(r#"{"token": "a"}"#, Some(("Bearer a", 60)));
        check(r#"{"access_token": "b", "expires_in": 300}"#, Some(("Bearer b", 300)));
        check(
            r#"{"token": "a", "access_token": "b", "expires_in": null, "issued_at": 3}"#,
            Some(("Bearer a", 60)),
        );
        check(
            r#"{"token": "a", "expires_in": 18446744073709551615}"#,
            Some(("Bearer a", 3600)),
        );
        check(r#"{"token": "a", "expires_in": -1}"#, Some(("Bearer a", 60)));
        check(r#"{"token": "a", "expires_in": 1e300}"#, Some(("Bearer a", 60)));
        check(r#"{"token": ""}"#, None);
        check(r#"{"token": "a\r\nX: y"}"#, None);
        check(r#"{"token": 1}"#, None);
        check("{}", None);
        check("[]", None);
        check("", None);
        check(&"[".repeat(60_000), None);
    }

    #[test]
    fn debug_output_shows_no_secrets() {
        let credentials = RegistryCredentials {
            username: "user".to_owned(),
            password: SecretString::from("canary"),
            trusted_realms: Vec::new(),
        };
        let token = sensitive("Bearer canary").unwrap();
        let shown = format!("{credentials:?} {token:?} {:?}", basic(&credentials).unwrap());
        assert!(
            !shown.contains("canary") && !shown.contains(&BASE64_STANDARD.encode("user:canary")),
            "{shown}"
        );
    }
}
