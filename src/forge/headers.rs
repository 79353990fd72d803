//! The headers of a delivery, of which each must be there exactly once.

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

use super::Rejection;
use crate::domain::repository::Provider;

/// Longest event name or delivery id, in bytes; the forges' own are names and UUIDs.
const MAX_VALUE: usize = 255;

/// How the body holds its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    Json,
    /// GitHub's and Gitea's other choice: a form with the JSON in its field `payload`.
    Form,
}

impl ContentType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
        }
    }

    /// Reads a media type, whatever its parameters: JSON has no other character set than UTF-8 (RFC 8259, section 8.1).
    pub fn parse(provider: Provider, text: &str) -> Result<Self, Rejection> {
        let media_type = text.split(';').next().unwrap_or_default().trim();
        let taken: &[Self] = match provider {
            Provider::Github | Provider::Gitea => &[Self::Json, Self::Form],
            Provider::Bitbucket | Provider::BitbucketServer | Provider::Gitlab => &[Self::Json],
        };
        taken
            .iter()
            .copied()
            .find(|known| media_type.eq_ignore_ascii_case(known.as_str()))
            .ok_or_else(|| {
                let names: Vec<&str> = taken.iter().map(|known| known.as_str()).collect();
                Rejection::Encoding(format!("the content type must be {}", names.join(" or ")))
            })
    }
}

/// The content type of a request whose body is as it was sent, not compressed.
pub fn content_type(provider: Provider, headers: &HeaderMap) -> Result<ContentType, Rejection> {
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let message = "the body must not be compressed: no content encoding but `identity` is taken";
        return Err(Rejection::Encoding(message.to_owned()));
    }
    // A value that is missing, doubled or not text reads as no media type at all.
    let value = single(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    ContentType::parse(provider, value)
}

/// The value of a header that every delivery has.
pub fn required(headers: &HeaderMap, name: &str) -> Result<String, Rejection> {
    match single(headers, name) {
        Some(value) if !value.is_empty() && value.len() <= MAX_VALUE => Ok(value.to_owned()),
        Some(_) => Err(Rejection::malformed(format!(
            "the header {name} is empty or longer than {MAX_VALUE} characters"
        ))),
        None => Err(Rejection::malformed(format!(
            "the header {name} must be there, once, in visible ASCII"
        ))),
    }
}

/// The value that every delivery has under at least one of several names, and under all of them that are there.
pub fn required_in_one(headers: &HeaderMap, names: &[&str]) -> Result<String, Rejection> {
    let mut sent = names.iter().filter(|name| headers.contains_key(**name));
    let Some(first) = sent.next() else {
        let names = names.join(" or ");
        return Err(Rejection::malformed(format!(
            "the header {names} must be there, once, in visible ASCII"
        )));
    };
    let value = required(headers, first)?;
    for name in sent {
        if required(headers, name)? != value {
            return Err(Rejection::malformed(format!(
                "the headers {first} and {name} do not say the same"
            )));
        }
    }
    Ok(value)
}

/// A header that is there exactly once and is visible ASCII.
pub fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
