//! Deliveries as the forges send them, and as they must not be taken.

#[macro_use]
mod payloads;

mod gitea;
mod gitlab;
mod trust;

use bytes::Bytes;
use chrono::DateTime;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use sha2::Sha256;

use super::{Rejection, Verification, VerifiedDelivery, verify};
use crate::domain::repository::Provider;

const SECRET: &str = "It's a Secret to Everybody";

/// Seconds since 1970 at which everything here happens.
const NOW: i64 = 1_772_442_672;

/// A webhook before it is sent.
#[derive(Clone)]
struct Webhook {
    provider: Provider,
    headers: HeaderMap,
    body: Bytes,
}

impl Webhook {
    /// Signed and complete, as the forge itself would send it.
    fn new(provider: Provider, event: &str, body: impl Into<Bytes>) -> Self {
        let (event_header, delivery_header) = match provider {
            Provider::Github => ("x-github-event", "x-github-delivery"),
            Provider::Bitbucket => ("x-event-key", "x-request-uuid"),
            Provider::BitbucketServer => ("x-event-key", "x-request-id"),
            Provider::Gitlab => ("x-gitlab-event", "idempotency-key"),
            Provider::Gitea => ("x-gitea-event", "x-gitea-delivery"),
        };
        Self {
            provider,
            headers: HeaderMap::new(),
            body: body.into(),
        }
        .with("content-type", "application/json")
        .with(event_header, event)
        .with(delivery_header, "0b989ba4-242f-11e5-81e1-c7b6966d2516")
        .signed()
    }

    fn signature_header(&self) -> &'static str {
        match self.provider {
            Provider::Github => "x-hub-signature-256",
            Provider::Bitbucket | Provider::BitbucketServer => "x-hub-signature",
            Provider::Gitlab => "x-gitlab-token",
            Provider::Gitea => "x-gitea-signature",
        }
    }

    fn signed(self) -> Self {
        let value = match self.provider {
            Provider::Gitlab => SECRET.to_owned(),
            Provider::Gitea => self.digits(),
            _ => format!("sha256={}", self.digits()),
        };
        let name = self.signature_header();
        self.with(name, &value)
    }

    fn digits(&self) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(&self.body);
        hex::encode(mac.finalize().into_bytes())
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    fn with_another(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name).unwrap();
        self
    }

    fn verify(&self) -> Result<Verification, Rejection> {
        self.verify_with(SECRET)
    }

    fn verify_with(&self, secret: &str) -> Result<Verification, Rejection> {
        self.verify_at(NOW, secret)
    }

    /// At a time in seconds since 1970.
    fn verify_at(&self, now: i64, secret: &str) -> Result<Verification, Rejection> {
        let now = DateTime::from_timestamp(now, 0).unwrap();
        let secret = SecretString::from(secret);
        verify(self.provider, &self.headers, &secret, self.body.clone(), now)
    }

    fn verified(&self) -> Result<VerifiedDelivery, Rejection> {
        match self.verify()? {
            Verification::Verified(delivery) => Ok(delivery),
            Verification::UnsignedPing => panic!("it was signed"),
        }
    }
}
