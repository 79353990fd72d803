//! Bitbucket Cloud's push event: any number of refs in one delivery.
//!
//! <https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Push>

use std::borrow::Cow;

use serde::Deserialize;

use super::{Rejection, push};
use crate::{
    domain::{
        event::{ChangeKind, EventKind, PushedRepository},
        rule::SourceType,
    },
    strict_json,
};

pub const EVENT_HEADER: &str = "X-Event-Key";
pub const DELIVERY_HEADER: &str = "X-Request-UUID";
pub const PUSH: &str = "repo:push";

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    push: Push<'a>,
    #[serde(borrow)]
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
}

/// `old` is null for a ref that was made, `new` for one that was deleted.
#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    old: Option<OldRef<'a>>,
    #[serde(borrow)]
    new: Option<MovedRef<'a>>,
}

#[derive(Deserialize)]
struct OldRef<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    target: Option<OldTarget<'a>>,
}

#[derive(Deserialize)]
struct OldTarget<'a> {
    #[serde(borrow)]
    hash: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct MovedRef<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    target: Target<'a>,
}

/// The commit, for an annotated tag too.
#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow)]
    hash: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    full_name: Cow<'a, str>,
    #[serde(borrow)]
    links: Links<'a>,
}

#[derive(Deserialize)]
struct Links<'a> {
    #[serde(borrow)]
    html: Link<'a>,
}

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow)]
    href: Cow<'a, str>,
}

pub fn parse_push(json: &str) -> Result<EventKind, Rejection> {
    let payload: Payload<'_> = strict_json::parse(json)?;
    let mut changes = Vec::with_capacity(payload.push.changes.len());
    let mut skipped = Vec::new();
    for (index, change) in payload.push.changes.iter().enumerate() {
        let (kind, name, change) = match (&change.new, &change.old) {
            (Some(new), old) => (&new.kind, &new.name, updated(&new.target, old.as_ref())),
            (None, Some(old)) => (&old.kind, &old.name, ChangeKind::Deleted),
            (None, None) => {
                let message = format!("push.changes[{index}] has neither an old nor a new ref");
                return Err(Rejection::malformed(message));
            }
        };
        match source_type(kind) {
            Some(source_type) => changes.push(push::change(source_type, name, change)?),
            None => skipped.push(name.as_ref()),
        }
    }
    Ok(push::event(payload.repository.into(), changes, &skipped))
}

fn updated(target: &Target<'_>, old: Option<&OldRef<'_>>) -> ChangeKind {
    let before = old.and_then(|old| old.target.as_ref()?.hash.as_deref());
    match push::is_zero(&target.hash) {
        true => ChangeKind::Deleted,
        false => ChangeKind::Updated {
            commit: target.hash.as_ref().to_owned(),
            message: target.message.as_deref().map(str::to_owned),
            before: push::before(before),
        },
    }
}

/// `named_branch` and `bookmark` are what Mercurial repositories called their branches.
fn source_type(kind: &str) -> Option<SourceType> {
    match kind {
        "branch" | "named_branch" | "bookmark" => Some(SourceType::Branch),
        "tag" | "annotated_tag" => Some(SourceType::Tag),
        _ => None,
    }
}

impl From<Repository<'_>> for PushedRepository {
    fn from(repository: Repository<'_>) -> Self {
        Self {
            full_name: repository.full_name.into_owned(),
            urls: vec![repository.links.html.href.into_owned()],
        }
    }
}
