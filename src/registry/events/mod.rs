//! What registries report by webhook: which tags were pushed. A file per sender.
//!
//! A report says where to look, and nothing else of it may be believed: neither a digest nor an address in it is used. Which
//! registry is meant is known from the address at which the report arrived.

mod distribution;
mod docker_hub;
mod github;
mod harbor;
mod quay;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use serde::{Deserialize, de::IgnoredAny};

use super::at_most::AtMost;
use crate::{
    domain::image::{is_valid_digest, is_valid_path, is_valid_tag},
    strict_json::{self, NotTaken},
};

/// A list of a report. Registries gather a few events, not thousands; who sends more sends several reports.
type Events<T> = AtMost<T, 1000>;

/// Who reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The CNCF's own registry, and what is built on it.
    Distribution,
    DockerHub,
    Harbor,
    Quay,
    /// GitHub's container registry.
    Github,
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notified {
    pub sender: Sender,
    /// Each tag once.
    pub pushed: Vec<Pushed>,
    /// Events that are no push of a tag: pulls, deletions, layers.
    pub ignored: usize,
}

/// A tag that was pushed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pushed {
    /// What follows the registry in the image's name: `library/alpine`, `team/app`.
    pub path: String,
    pub tag: String,
}

/// Why a report is not taken, for the person who set the registry up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// A content type or content encoding that is not taken.
    #[error("{0}")]
    Encoding(String),
    /// Not parseable, or of a shape that no known registry sends.
    #[error("{0}")]
    Malformed(String),
}

impl NotificationError {
    fn malformed(text: &str) -> Self {
        Self::Malformed(text.to_owned())
    }
}

impl From<NotTaken> for NotificationError {
    fn from(error: NotTaken) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Checks that a report is JSON as it was written: the first thing to look at, before its body.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), NotificationError> {
    let refused = |text: &str| Err(NotificationError::Encoding(text.to_owned()));
    let compressed = |value: &http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(compressed) {
        return refused("the body must not be compressed: no content encoding but `identity` is taken");
    }
    let kind = single(headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    match is_json {
        true => Ok(()),
        false => refused("the content type must be application/json, or one of a registry that ends with +json"),
    }
}

/// Reads a report; whose it is shows in its headers and shape.
pub fn pushed(headers: &HeaderMap, body: &[u8]) -> Result<Notified, NotificationError> {
    check_encoding(headers)?;
    let text = str::from_utf8(body).map_err(|_| NotificationError::malformed("the body is not UTF-8"))?;
    strict_json::check(text)?;
    if !text.trim_start().starts_with('{') {
        return Err(NotificationError::malformed("the body is not a JSON object"));
    }
    let mut report = Report::default();
    let sender = sender(headers, text)?;
    match sender {
        Sender::Distribution => distribution::read(text, &mut report)?,
        Sender::DockerHub => docker_hub::read(text, &mut report)?,
        Sender::Harbor => harbor::read(text, &mut report)?,
        Sender::Quay => quay::read(text, &mut report)?,
        Sender::Github => github::read(single(headers, github::EVENT_HEADER), text, &mut report)?,
    }
    Ok(Notified {
        sender,
        pushed: report.pushed.into_iter().collect(),
        ignored: report.ignored,
    })
}

/// The fields by which reports are told apart.
#[derive(Deserialize)]
struct Shape {
    events: Option<IgnoredAny>,
    push_data: Option<IgnoredAny>,
    event_data: Option<IgnoredAny>,
    specversion: Option<IgnoredAny>,
    docker_url: Option<IgnoredAny>,
}

fn sender(headers: &HeaderMap, text: &str) -> Result<Sender, NotificationError> {
    if headers.contains_key(github::EVENT_HEADER) {
        return Ok(Sender::Github);
    }
    let shape: Shape = strict_json::read(text)?;
    let signs = [
        (Sender::Distribution, shape.events),
        (Sender::DockerHub, shape.push_data),
        (Sender::Harbor, shape.event_data.or(shape.specversion)),
        (Sender::Quay, shape.docker_url),
    ];
    let mut found = signs.into_iter().filter(|(_, sign)| sign.is_some());
    match (found.next(), found.next()) {
        (Some((sender, _)), None) => Ok(sender),
        _ => Err(NotificationError::malformed(
            "this is not what distribution, Docker Hub, Harbor, Quay or GitHub's container registry report",
        )),
    }
}

/// A header that is there exactly once and is visible ASCII.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// What was read of a report so far.
#[derive(Default)]
struct Report {
    pushed: BTreeSet<Pushed>,
    ignored: usize,
}

impl Report {
    /// Takes a push. One without a tag, or by digest, moves no tag.
    fn push(&mut self, path: &str, tag: &str) -> Result<(), NotificationError> {
        if !is_valid_path(path) {
            return Err(NotificationError::malformed(
                "the name of an image's repository cannot be one",
            ));
        }
        if tag.is_empty() || is_valid_digest(tag) {
            self.ignored += 1;
            return Ok(());
        }
        if !is_valid_tag(tag) {
            return Err(NotificationError::malformed("a tag cannot be one"));
        }
        self.pushed.insert(Pushed {
            path: path.to_owned(),
            tag: tag.to_owned(),
        });
        Ok(())
    }

    fn ignore(&mut self) {
        self.ignored += 1;
    }
}
