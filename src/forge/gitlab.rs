//! GitLab's push events: one ref in each, branches and tags under two names.
//!
//! <https://docs.gitlab.com/user/project/integrations/webhook_events/#push-events>

use std::borrow::Cow;

use http::HeaderMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Rejection, gitlab_signature, headers, push};
use crate::{
    domain::{
        event::{ChangeKind, EventKind, PushedRepository},
        rule::SourceType,
    },
    strict_json,
};

pub const EVENT_HEADER: &str = "X-Gitlab-Event";
pub const PUSH: &str = "Push Hook";
pub const TAG_PUSH: &str = "Tag Push Hook";
/// The hook of a whole server, whose pushes come in another shape.
pub const SYSTEM: &str = "System Hook";
pub const SYSTEM_REASON: &str = "a system hook: add the webhook to the project or its group instead";

/// Since 17.4.
const IDEMPOTENCY_HEADER: &str = "Idempotency-Key";
const EVENT_UUID_HEADER: &str = "X-Gitlab-Event-UUID";

/// The id that is one event's alone and the same when it is sent again.
///
/// A signed delivery's is in its signature, so nobody but the signer can give the same event another; it equals the
/// idempotency key, which others have. Older releases have neither: the UUID of the event is new each time it is sent again,
/// and shared by events that follow from one another, so that there the body, which is compared anyway, has to be part of it.
pub fn delivery_id(headers: &HeaderMap, body: &[u8]) -> Result<String, Rejection> {
    if gitlab_signature::is_signed(headers) {
        return headers::required(headers, gitlab_signature::ID_HEADER);
    }
    if headers.contains_key(IDEMPOTENCY_HEADER) || !headers.contains_key(EVENT_UUID_HEADER) {
        return headers::required(headers, IDEMPOTENCY_HEADER);
    }
    let event = headers::required(headers, EVENT_UUID_HEADER)?;
    let digest = hex::encode(&Sha256::digest(body)[..8]);
    Ok(format!("{event}-{digest}"))
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, rename = "ref")]
    full_ref: Cow<'a, str>,
    #[serde(borrow)]
    before: Option<Cow<'a, str>>,
    /// For an annotated tag the tag object, for a deletion zeros.
    #[serde(borrow)]
    after: Cow<'a, str>,
    /// The commit, for an annotated tag too; null for a deletion.
    #[serde(borrow)]
    checkout_sha: Option<Cow<'a, str>>,
    /// At most the last twenty, and none if all of them were known already.
    #[serde(borrow)]
    commits: Option<Vec<Commit<'a>>>,
    #[serde(borrow)]
    project: Project<'a>,
}

#[derive(Deserialize)]
struct Commit<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Project<'a> {
    #[serde(borrow)]
    path_with_namespace: Cow<'a, str>,
    #[serde(borrow)]
    git_http_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    git_ssh_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    web_url: Option<Cow<'a, str>>,
}

pub fn parse_push(json: &str) -> Result<EventKind, Rejection> {
    let push: Push<'_> = strict_json::parse(json)?;
    let full_ref = push.full_ref.as_ref();
    let Some((source_type, name)) = SourceType::of_full_ref(full_ref) else {
        return Ok(push::event(push.project.into(), Vec::new(), &[full_ref]));
    };
    let kind = match push::is_zero(&push.after) {
        true => ChangeKind::Deleted,
        false => updated(&push),
    };
    let change = push::change(source_type, name, kind)?;
    Ok(push::event(push.project.into(), vec![change], &[]))
}

fn updated(push: &Push<'_>) -> ChangeKind {
    let commit = push.checkout_sha.as_ref().unwrap_or(&push.after);
    let mut commits = push.commits.iter().flatten();
    let message = commits
        .find(|known| known.id == *commit)
        .and_then(|known| known.message.as_deref());
    ChangeKind::Updated {
        commit: commit.as_ref().to_owned(),
        message: message.map(str::to_owned),
        before: push::before(push.before.as_deref()),
    }
}

impl From<Project<'_>> for PushedRepository {
    fn from(project: Project<'_>) -> Self {
        let urls = [project.git_http_url, project.git_ssh_url, project.web_url];
        Self {
            full_name: project.path_with_namespace.into_owned(),
            urls: urls.into_iter().flatten().map(Cow::into_owned).collect(),
        }
    }
}
