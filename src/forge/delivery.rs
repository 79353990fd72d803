//! The way of one webhook: raw bytes, verified, parsed.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use secrecy::SecretString;

use super::{
    bitbucket, bitbucket_server, form, gitea, github, gitlab,
    headers::{self, ContentType},
    signature,
};
use crate::{
    domain::{
        event::{EventKind, ForgeEvent},
        repository::Provider,
    },
    strict_json::{self, NotTaken},
};

/// Longest text that a rejection quotes, in characters: what it quotes comes from outside.
const MAX_DETAIL: usize = 400;

/// Why a webhook is not taken, split by the status that answers it. The texts are for the person who set the hook up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// 415: a content type or content encoding that is not taken.
    #[error("{0}")]
    Encoding(String),
    /// 401: the signature is missing or wrong.
    #[error("{0}")]
    Signature(String),
    /// 400: not parseable, or a header that every delivery has is missing.
    #[error("{0}")]
    Malformed(String),
}

impl Rejection {
    /// A [`Rejection::Malformed`] of bounded length.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        Self::Malformed(detail)
    }
}

impl From<NotTaken> for Rejection {
    fn from(error: NotTaken) -> Self {
        Self::malformed(error.to_string())
    }
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verification {
    Verified(VerifiedDelivery),
    /// Bitbucket Data Center's "Test connection", which it does not sign. Anybody could have sent it: it may be answered
    /// with a 2xx, and must be neither recorded nor acted upon.
    UnsignedPing,
}

/// A webhook that was signed with the hook's secret, and has the headers that every delivery has.
///
/// Made by [`verify`], or by [`VerifiedDelivery::from_ledger`] from what [`verify`] once let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDelivery {
    provider: Provider,
    event: String,
    delivery_id: String,
    content_type: ContentType,
    body: Bytes,
}

/// Checks a webhook's encoding, its signature and its headers, in this order; the body is not looked into. `now` is what a
/// signature's time is held against, where it has one.
pub fn verify(
    provider: Provider,
    headers: &HeaderMap,
    secret: &SecretString,
    body: Bytes,
    now: DateTime<Utc>,
) -> Result<Verification, Rejection> {
    let content_type = headers::content_type(provider, headers)?;
    if is_unsigned_ping(provider, headers) {
        return Ok(Verification::UnsignedPing);
    }
    signature::verify(provider, headers, secret, content_type, &body, now)?;
    let (event, delivery_id) = identity(provider, headers, &body)?;
    Ok(Verification::Verified(VerifiedDelivery {
        provider,
        event,
        delivery_id,
        content_type,
        body,
    }))
}

/// The event's name and the delivery's id.
fn identity(provider: Provider, headers: &HeaderMap, body: &[u8]) -> Result<(String, String), Rejection> {
    let both = |event, delivery| {
        Ok((
            headers::required(headers, event)?,
            headers::required(headers, delivery)?,
        ))
    };
    match provider {
        Provider::Github => both(github::EVENT_HEADER, github::DELIVERY_HEADER),
        Provider::Bitbucket => both(bitbucket::EVENT_HEADER, bitbucket::DELIVERY_HEADER),
        Provider::BitbucketServer => both(bitbucket_server::EVENT_HEADER, bitbucket_server::DELIVERY_HEADER),
        Provider::Gitlab => Ok((
            headers::required(headers, gitlab::EVENT_HEADER)?,
            gitlab::delivery_id(headers, body)?,
        )),
        Provider::Gitea => Ok((
            headers::required_in_one(headers, &gitea::EVENT_HEADERS)?,
            headers::required_in_one(headers, &gitea::DELIVERY_HEADERS)?,
        )),
    }
}

/// A ping that bears a signature is verified like anything else: a wrong one tells the person that the secrets differ.
fn is_unsigned_ping(provider: Provider, headers: &HeaderMap) -> bool {
    provider == Provider::BitbucketServer
        && !headers.contains_key(signature::BITBUCKET_HEADER)
        && headers::required(headers, bitbucket_server::EVENT_HEADER).as_deref() == Ok(bitbucket_server::PING)
}

impl VerifiedDelivery {
    /// A delivery as it was stored, to be replayed. The caller vouches that [`verify`] let it in when it came: its
    /// signature was checked then, with the secret that the hook had then, and is not checked again.
    pub fn from_ledger(
        provider: Provider,
        event: String,
        delivery_id: String,
        content_type: &str,
        body: Bytes,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            provider,
            event,
            delivery_id,
            content_type: ContentType::parse(provider, content_type)?,
            body,
        })
    }

    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// The forge's name of the event: `push`, `repo:push`.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The forge's own id of this delivery; a redelivery bears the same.
    pub fn delivery_id(&self) -> &str {
        &self.delivery_id
    }

    /// The body's media type, without parameters.
    pub fn content_type(&self) -> &'static str {
        self.content_type.as_str()
    }

    /// The body as it came, which is what was signed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Reads the body. Of an event that is not a push only the JSON is checked.
    pub fn parse(&self) -> Result<ForgeEvent, Rejection> {
        let form;
        let json = match self.content_type {
            ContentType::Json => str::from_utf8(&self.body)
                .map_err(|error| Rejection::malformed(format!("the body is not UTF-8: {error}")))?,
            ContentType::Form => {
                form = form::payload(&self.body)?;
                &form
            }
        };
        Ok(ForgeEvent {
            event: self.event.clone(),
            delivery_id: self.delivery_id.clone(),
            kind: self.parse_json(json)?,
        })
    }

    fn parse_json(&self, json: &str) -> Result<EventKind, Rejection> {
        match (self.provider, self.event.as_str()) {
            (Provider::Github, github::PUSH) => github::parse_push(json),
            (Provider::Bitbucket, bitbucket::PUSH) => bitbucket::parse_push(json),
            (Provider::BitbucketServer, bitbucket_server::PUSH) => bitbucket_server::parse_push(json),
            (Provider::Gitlab, gitlab::PUSH | gitlab::TAG_PUSH) => gitlab::parse_push(json),
            (Provider::Gitea, gitea::PUSH) => gitea::parse_push(json),
            (Provider::Gitlab, gitlab::SYSTEM) => {
                strict_json::check(json)?;
                Ok(EventKind::Ignored(gitlab::SYSTEM_REASON.to_owned()))
            }
            (Provider::Github, github::PING) | (Provider::BitbucketServer, bitbucket_server::PING) => {
                strict_json::check(json)?;
                Ok(EventKind::Ignored("a ping".to_owned()))
            }
            (_, event) => {
                strict_json::check(json)?;
                Ok(EventKind::Ignored(format!("the event `{event}` is not a push")))
            }
        }
    }
}
