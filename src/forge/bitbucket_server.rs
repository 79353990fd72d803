//! Bitbucket Data Center's push event: any number of refs in one delivery.
//!
//! <https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html>

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
pub const DELIVERY_HEADER: &str = "X-Request-Id";
pub const PUSH: &str = "repo:refs_changed";
/// "Test connection", often not signed.
pub const PING: &str = "diagnostics:ping";

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    changes: Vec<Change<'a>>,
    /// The commit that one of the refs now points to; older releases do not send it.
    #[serde(borrow, rename = "toCommit")]
    to_commit: Option<Commit<'a>>,
    #[serde(borrow)]
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow, rename = "ref")]
    reference: Ref<'a>,
    #[serde(borrow, rename = "fromHash")]
    from_hash: Option<Cow<'a, str>>,
    /// For an annotated tag this is the tag object.
    #[serde(borrow, rename = "toHash")]
    to_hash: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Deserialize)]
struct Ref<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    Add,
    Update,
    Delete,
}

#[derive(Deserialize)]
struct Commit<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    slug: Cow<'a, str>,
    #[serde(borrow)]
    project: Project<'a>,
    #[serde(borrow, default)]
    links: Links<'a>,
}

#[derive(Deserialize)]
struct Project<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
struct Links<'a> {
    #[serde(borrow, default)]
    clone: Vec<Link<'a>>,
    #[serde(borrow, default, rename = "self")]
    pages: Vec<Link<'a>>,
}

#[derive(Deserialize)]
struct Link<'a> {
    #[serde(borrow)]
    href: Cow<'a, str>,
}

pub fn parse_push(json: &str) -> Result<EventKind, Rejection> {
    let payload: Payload<'_> = strict_json::parse(json)?;
    let mut changes = Vec::with_capacity(payload.changes.len());
    let mut skipped = Vec::new();
    for change in &payload.changes {
        let full_ref = change.reference.id.as_ref();
        match SourceType::of_full_ref(full_ref) {
            Some((source_type, name)) => {
                let kind = change_kind(change, payload.to_commit.as_ref());
                changes.push(push::change(source_type, name, kind)?);
            }
            None => skipped.push(full_ref),
        }
    }
    Ok(push::event(payload.repository.into(), changes, &skipped))
}

fn change_kind(change: &Change<'_>, to_commit: Option<&Commit<'_>>) -> ChangeKind {
    if change.kind == Kind::Delete || push::is_zero(&change.to_hash) {
        return ChangeKind::Deleted;
    }
    let message = to_commit
        .filter(|commit| commit.id == change.to_hash)
        .and_then(|commit| commit.message.as_deref());
    ChangeKind::Updated {
        commit: change.to_hash.as_ref().to_owned(),
        message: message.map(str::to_owned),
        before: push::before(change.from_hash.as_deref()),
    }
}

impl From<Repository<'_>> for PushedRepository {
    fn from(repository: Repository<'_>) -> Self {
        let links = repository.links.clone.into_iter().chain(repository.links.pages);
        Self {
            full_name: format!("{}/{}", repository.project.key, repository.slug),
            urls: links.map(|link| link.href.into_owned()).collect(),
        }
    }
}
