//! The ID token: which of its signatures are looked at, and what its claims must be (OpenID Connect Core 1.0, 3.1.3.7).

use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::OidcError;

/// Signatures by a key that the provider alone has. A shared secret or no signature at all proves nothing here.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// Largest token, in bytes.
const LARGEST: usize = 64 << 10;

/// How far the provider's clock may be from ours, in seconds.
const LEEWAY: i64 = 60;

/// How old a token may be, in seconds: it was made for an attempt of minutes ago.
const OLDEST: i64 = 60 * 60;

/// Longest `sub` that a provider may use, in bytes.
const LONGEST_SUBJECT: usize = 255;

/// What a token says, by name.
pub(super) type Claims = serde_json::Map<String, Value>;

/// How a token says that it was signed.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
}

impl Header {
    /// Refuses what is signed in a way that proves nothing.
    pub(super) fn of(token: &str) -> Result<Self, OidcError> {
        if token.len() > LARGEST {
            return Err(untrusted("its ID token is too large"));
        }
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| untrusted("its ID token is signed in no way that is known"))?;
        // What a token demands to be understood is not (RFC 7515, 4.1.11).
        if !ALGORITHMS.contains(&header.alg) || header.crit.is_some() {
            return Err(untrusted("its ID token is signed in a way that proves nothing"));
        }
        Ok(Self {
            algorithm: header.alg,
            key_id: header.kid,
        })
    }
}

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client_id: &'a str,
    pub(super) nonce: &'a str,
}

/// Whether a token whose signature is right was made by the provider, for us, for this attempt, just now.
pub(super) fn check(claims: &Claims, expected: &Expected<'_>, now: DateTime<Utc>) -> Result<(), OidcError> {
    let text = |name| claims.get(name).and_then(Value::as_str);
    let now = now.timestamp();
    if text("iss") != Some(expected.issuer) {
        return Err(untrusted("its ID token is another provider's"));
    }
    let audience = audience(claims);
    if !audience.contains(&expected.client_id) {
        return Err(untrusted("its ID token is for another service"));
    }
    let party = claims.get("azp").map(|party| party.as_str().unwrap_or_default());
    if party.map_or(audience.len() > 1, |party| party != expected.client_id) {
        return Err(untrusted("its ID token was made for another service"));
    }
    let expires = seconds(claims, "exp").ok_or_else(|| untrusted("its ID token does not say when it ends"))?;
    if expires <= now - LEEWAY {
        return Err(untrusted("its ID token has expired; if it is new, the clocks differ"));
    }
    let issued = seconds(claims, "iat").ok_or_else(|| untrusted("its ID token does not say when it was made"))?;
    if issued > now + LEEWAY || issued < now - OLDEST {
        return Err(untrusted(
            "its ID token was not made just now; if it was, the clocks differ",
        ));
    }
    let begins = seconds(claims, "nbf");
    if begins.is_some_and(|begins| begins > now + LEEWAY) {
        return Err(untrusted(
            "its ID token does not hold yet; if it does, the clocks differ",
        ));
    }
    if text("nonce") != Some(expected.nonce) {
        return Err(untrusted("its ID token was made for another attempt"));
    }
    match text("sub") {
        Some(subject) if !subject.is_empty() && subject.len() <= LONGEST_SUBJECT && !subject.contains('\0') => Ok(()),
        _ => Err(untrusted("its ID token does not say whom it is about")),
    }
}

/// One audience, or several.
fn audience(claims: &Claims) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().map(|one| one.as_str().unwrap_or_default()).collect(),
        _ => vec![],
    }
}

/// A `NumericDate` (RFC 7519), which may have a fraction.
fn seconds(claims: &Claims, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

fn untrusted(why: &str) -> OidcError {
    OidcError::Untrusted(why.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn checked(changes: &[(&str, Value)]) -> Result<(), OidcError> {
        let mut claims = json!({
            "iss": "https://id.example.com", "sub": "ann-1", "aud": "hullworks", "nonce": "n",
            "iat": NOW, "exp": NOW + 600,
        });
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        let mut claims = claims.as_object().unwrap().clone();
        claims.retain(|_, value| *value != json!("left out"));
        let expected = Expected {
            issuer: "https://id.example.com",
            client_id: "hullworks",
            nonce: "n",
        };
        check(&claims, &expected, DateTime::from_timestamp(NOW, 0).unwrap())
    }

    #[test]
    fn a_token_made_for_us_just_now_is_taken() {
        for changes in [
            vec![],
            vec![("aud", json!(["hullworks"]))],
            vec![("aud", json!(["hullworks", "other"])), ("azp", json!("hullworks"))],
            vec![("azp", json!("hullworks"))],
            vec![("exp", json!(NOW - LEEWAY + 1)), ("iat", json!(NOW + LEEWAY))],
            vec![("iat", json!(NOW as f64 + 0.5))],
            vec![("nbf", json!(NOW + LEEWAY))],
        ] {
            assert_eq!(checked(&changes), Ok(()), "{changes:?}");
        }
    }

    #[test]
    fn a_token_that_anything_is_wrong_with_is_refused() {
        let out = || json!("left out");
        for changes in [
            vec![("iss", json!("https://evil.example.com"))],
            vec![("iss", out())],
            vec![("iss", json!(["https://id.example.com"]))],
            vec![("aud", json!("other"))],
            vec![("aud", json!([]))],
            vec![("aud", out())],
            vec![("aud", json!(["hullworks", "other"]))],
            vec![("aud", json!(["hullworks", "other"])), ("azp", json!("other"))],
            vec![("azp", json!("other"))],
            vec![("azp", json!(1))],
            vec![("exp", json!(NOW - LEEWAY))],
            vec![("exp", out())],
            vec![("exp", json!("tomorrow"))],
            vec![("exp", json!(-1))],
            vec![("iat", out())],
            vec![("iat", json!(NOW + LEEWAY + 1))],
            vec![("iat", json!(NOW - OLDEST - 1))],
            vec![("nbf", json!(NOW + LEEWAY + 1))],
            vec![("nonce", json!("another"))],
            vec![("nonce", out())],
            vec![("sub", json!(""))],
            vec![("sub", out())],
            vec![("sub", json!(7))],
            vec![("sub", json!("x".repeat(LONGEST_SUBJECT + 1)))],
            vec![("sub", json!("a\0b"))],
        ] {
            let result = checked(&changes);
            assert!(
                matches!(result, Err(OidcError::Untrusted(_))),
                "{changes:?}: {result:?}"
            );
        }
    }
}
