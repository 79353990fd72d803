//! Signatures: HMAC-SHA256 (RFC 2104) in 64 hexadecimal digits, over the raw body.
//!
//! The MAC compares in constant time itself, and what it expected is never made into text.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::{
    Rejection, form, gitlab_signature,
    headers::{ContentType, single},
};
use crate::domain::repository::Provider;

const PREFIX: &str = "sha256=";
const GITHUB_HEADER: &str = "X-Hub-Signature-256";
/// SHA-256 at both Bitbuckets; at GitHub the same name bears SHA-1, which is not taken.
pub const BITBUCKET_HEADER: &str = "X-Hub-Signature";
/// Digits without a prefix. Empty if the hook has no secret. Forgejo sends both.
const GITEA_HEADERS: [&str; 2] = ["X-Gitea-Signature", "X-Forgejo-Signature"];

const UNSIGNED: &str = "the delivery is not signed: set the hook's secret at the forge";

/// Checks that a delivery was sent by somebody who knows the secret.
pub fn verify(
    provider: Provider,
    headers: &HeaderMap,
    secret: &SecretString,
    content_type: ContentType,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Rejection> {
    let secret = secret.expose_secret();
    if secret.is_empty() {
        return rejected("this hook has no secret, so nothing can be verified");
    }
    match provider {
        Provider::Github => verify_prefixed(headers, GITHUB_HEADER, secret, body),
        Provider::Bitbucket | Provider::BitbucketServer => verify_prefixed(headers, BITBUCKET_HEADER, secret, body),
        Provider::Gitlab => gitlab_signature::verify(headers, secret, body, now),
        Provider::Gitea => verify_gitea(headers, secret, content_type, body),
    }
}

fn verify_prefixed(headers: &HeaderMap, name: &str, secret: &str, body: &[u8]) -> Result<(), Rejection> {
    if !headers.contains_key(name) {
        return rejected(match headers.contains_key(BITBUCKET_HEADER) {
            true => "only a SHA-1 signature was sent; X-Hub-Signature-256 is needed",
            false => UNSIGNED,
        });
    }
    let signature = digits(headers, name, PREFIX)?;
    verify_mac(secret, body, &signature)
}

/// Of a form not the body is signed but the JSON in its field: so the form, and nothing more, is read before.
fn verify_gitea(headers: &HeaderMap, secret: &str, content_type: ContentType, body: &[u8]) -> Result<(), Rejection> {
    let sent: Vec<&str> = GITEA_HEADERS
        .into_iter()
        .filter(|name| headers.contains_key(*name))
        .collect();
    if sent.iter().all(|name| single(headers, name) == Some("")) {
        return rejected(UNSIGNED);
    }
    let field;
    let signed = match content_type {
        ContentType::Json => body,
        ContentType::Form => {
            field = form::payload(body).map_err(|error| Rejection::Signature(error.to_string()))?;
            field.as_bytes()
        }
    };
    for name in sent {
        let signature = digits(headers, name, "")?;
        verify_mac(secret, signed, &signature)?;
    }
    Ok(())
}

fn verify_mac(secret: &str, signed: &[u8], signature: &[u8; 32]) -> Result<(), Rejection> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return rejected("this hook's secret cannot be used as a key");
    };
    mac.update(signed);
    mac.verify_slice(signature).or_else(|_| mismatch())
}

fn digits(headers: &HeaderMap, name: &str, prefix: &str) -> Result<[u8; 32], Rejection> {
    let mut signature = [0; 32];
    single(headers, name)
        .and_then(|value| value.strip_prefix(prefix))
        .and_then(|digits| hex::decode_to_slice(digits, &mut signature).ok())
        .ok_or_else(|| {
            let prefix = match prefix {
                "" => String::new(),
                prefix => format!("`{prefix}` and "),
            };
            Rejection::Signature(format!("{name} must be {prefix}64 hexadecimal digits, once"))
        })?;
    Ok(signature)
}

/// The signature is well formed, and wrong.
pub fn mismatch() -> Result<(), Rejection> {
    rejected("the signature does not match: it was made with another secret, or the body was changed")
}

pub fn rejected<T>(message: &str) -> Result<T, Rejection> {
    Err(Rejection::Signature(message.to_owned()))
}
