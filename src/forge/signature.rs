//! Signatures: HMAC-SHA256 (RFC 2104) over the raw body, as `sha256=` and 64 hexadecimal digits.
//!
//! The MAC compares in constant time itself, and what it expected is never made into text.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::{Rejection, headers::single};
use crate::domain::repository::Provider;

const PREFIX: &str = "sha256=";
const GITHUB_HEADER: &str = "X-Hub-Signature-256";
/// SHA-256 at both Bitbuckets; at GitHub the same name bears SHA-1, which is not taken.
const BITBUCKET_HEADER: &str = "X-Hub-Signature";

/// The header in which a forge sends its signature.
pub fn header(provider: Provider) -> &'static str {
    match provider {
        Provider::Github => GITHUB_HEADER,
        Provider::Bitbucket | Provider::BitbucketServer => BITBUCKET_HEADER,
    }
}

/// Checks that the body was signed with the secret.
pub fn verify(provider: Provider, headers: &HeaderMap, secret: &SecretString, body: &[u8]) -> Result<(), Rejection> {
    let secret = secret.expose_secret().as_bytes();
    if secret.is_empty() {
        return rejected("this hook has no secret, so nothing can be verified");
    }
    let signature = sent_signature(provider, headers)?;
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return rejected("this hook's secret cannot be used as a key");
    };
    mac.update(body);
    match mac.verify_slice(&signature) {
        Ok(()) => Ok(()),
        Err(_) => rejected("the signature does not match: it was made with another secret, or the body was changed"),
    }
}

fn sent_signature(provider: Provider, headers: &HeaderMap) -> Result<[u8; 32], Rejection> {
    let name = header(provider);
    if !headers.contains_key(name) {
        return rejected(match headers.contains_key(BITBUCKET_HEADER) {
            true => "only a SHA-1 signature was sent; X-Hub-Signature-256 is needed",
            false => "the delivery is not signed: set the hook's secret at the forge",
        });
    }
    let mut signature = [0; 32];
    single(headers, name)
        .and_then(|value| value.strip_prefix(PREFIX))
        .and_then(|digits| hex::decode_to_slice(digits, &mut signature).ok())
        .ok_or_else(|| Rejection::Signature(format!("{name} must be `{PREFIX}` and 64 hexadecimal digits, once")))?;
    Ok(signature)
}

fn rejected<T>(message: &str) -> Result<T, Rejection> {
    Err(Rejection::Signature(message.to_owned()))
}
