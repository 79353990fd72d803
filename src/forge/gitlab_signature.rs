//! How GitLab shows that a delivery is its own: by the secret itself, by a signature of Standard Webhooks, or by both, and then
//! both must be right.
//!
//! <https://docs.gitlab.com/user/project/integrations/webhooks/>, <https://www.standardwebhooks.com>

use aws_lc_rs::constant_time;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::zeroize::Zeroizing;
use sha2::Sha256;

use super::{
    Rejection,
    headers::single,
    signature::{mismatch, rejected},
};

const TOKEN_HEADER: &str = "X-Gitlab-Token";
const SIGNATURE_HEADER: &str = "webhook-signature";
const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// It is signed with the body, and the same when a delivery is sent again.
pub const ID_HEADER: &str = "webhook-id";

/// Stands before a secret whose rest is the key in base64.
const KEY_PREFIX: &str = "whsec_";

/// The scheme with a shared secret; others may stand beside it.
const VERSION: &str = "v1,";

/// How far the time of a signature may be from ours, in seconds: what Standard Webhooks recommends.
const TOLERANCE_SECONDS: u64 = 5 * 60;

/// Most signatures that are looked at; several come while a secret is being replaced.
const MOST_SIGNATURES: usize = 8;

/// Whether a delivery claims a signature, rather than the secret alone.
pub fn is_signed(headers: &HeaderMap) -> bool {
    headers.contains_key(SIGNATURE_HEADER)
}

/// Checks that the sender knows the secret, which is not empty, by every sign of it that the delivery bears.
pub fn verify(headers: &HeaderMap, secret: &str, body: &[u8], now: DateTime<Utc>) -> Result<(), Rejection> {
    let has_token = headers.contains_key(TOKEN_HEADER);
    if !has_token && !is_signed(headers) {
        return rejected("the delivery has neither a signature nor a token: set the hook's secret at the forge");
    }
    if has_token {
        verify_token(headers, secret)?;
    }
    if is_signed(headers) {
        verify_signature(headers, secret, body, now)?;
    }
    Ok(())
}

fn verify_token(headers: &HeaderMap, secret: &str) -> Result<(), Rejection> {
    let mut sent = headers.get_all(TOKEN_HEADER).iter();
    match (sent.next(), sent.next()) {
        (Some(token), None) if constant_time::verify_slices_are_equal(token.as_bytes(), secret.as_bytes()).is_ok() => {
            Ok(())
        }
        (_, None) => rejected("X-Gitlab-Token is not this hook's secret"),
        _ => rejected("X-Gitlab-Token must be there once"),
    }
}

fn verify_signature(headers: &HeaderMap, secret: &str, body: &[u8], now: DateTime<Utc>) -> Result<(), Rejection> {
    let Some(id) = single(headers, ID_HEADER).filter(|id| !id.is_empty()) else {
        return rejected("a signed delivery must have the header webhook-id, once");
    };
    let Some((sent, seconds)) = single(headers, TIMESTAMP_HEADER).and_then(|text| Some((text, unix_seconds(text)?)))
    else {
        return rejected("a signed delivery must have the header webhook-timestamp, once, in seconds since 1970");
    };
    if now.timestamp().abs_diff(seconds) > TOLERANCE_SECONDS {
        return rejected(
            "the signature's time is more than five minutes from this server's: send it again, or set the clocks",
        );
    }
    let signatures = sent_signatures(headers)?;
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key(secret)) else {
        return rejected("this hook's secret cannot be used as a key");
    };
    for part in [id.as_bytes(), b".", sent.as_bytes(), b".", body] {
        mac.update(part);
    }
    match signatures
        .iter()
        .any(|signature| mac.clone().verify_slice(signature).is_ok())
    {
        true => Ok(()),
        false => mismatch(),
    }
}

/// Digits alone: what was signed is the text, so it must have one spelling.
fn unix_seconds(text: &str) -> Option<i64> {
    let are_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits.then(|| text.parse().ok()).flatten()
}

/// The signatures of our version; what stands beside them is of others.
fn sent_signatures(headers: &HeaderMap) -> Result<Vec<[u8; 32]>, Rejection> {
    let listed: Vec<&str> = single(headers, SIGNATURE_HEADER)
        .unwrap_or_default()
        .split(' ')
        .collect();
    if listed.len() > MOST_SIGNATURES {
        return rejected("webhook-signature has more signatures than are looked at");
    }
    let signatures: Vec<[u8; 32]> = listed
        .into_iter()
        .filter_map(|text| text.strip_prefix(VERSION))
        .filter_map(|text| BASE64_STANDARD.decode(text).ok()?.try_into().ok())
        .collect();
    match signatures.is_empty() {
        true => rejected("webhook-signature must be `v1,` and 32 bytes in base64, or several of them, once"),
        false => Ok(signatures),
    }
}

/// `whsec_` stands before a key in base64; a secret of another form is the key itself.
fn key(secret: &str) -> Zeroizing<Vec<u8>> {
    let decoded = secret
        .strip_prefix(KEY_PREFIX)
        .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok())
        .filter(|key| !key.is_empty());
    Zeroizing::new(decoded.unwrap_or_else(|| secret.as_bytes().to_vec()))
}
