//! GitHub's push event, and that of whoever speaks its language, such as the `post-receive` hook for plain git servers.
//!
//! <https://docs.github.com/en/webhooks/webhook-events-and-payloads#push>

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Rejection,
    push::{self, HeadCommit},
};
use crate::{
    domain::{
        event::{ChangeKind, EventKind, PushedRepository},
        rule::SourceType,
    },
    strict_json,
};

pub const EVENT_HEADER: &str = "X-GitHub-Event";
pub const DELIVERY_HEADER: &str = "X-GitHub-Delivery";
pub const PUSH: &str = "push";
pub const PING: &str = "ping";

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, rename = "ref")]
    full_ref: Cow<'a, str>,
    #[serde(borrow)]
    before: Option<Cow<'a, str>>,
    #[serde(borrow)]
    after: Cow<'a, str>,
    deleted: bool,
    #[serde(borrow)]
    head_commit: Option<HeadCommit<'a>>,
    #[serde(borrow)]
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    full_name: Cow<'a, str>,
    #[serde(borrow)]
    clone_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    git_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ssh_url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    html_url: Option<Cow<'a, str>>,
}

pub fn parse_push(json: &str) -> Result<EventKind, Rejection> {
    let push: Push<'_> = strict_json::parse(json)?;
    let full_ref = push.full_ref.as_ref();
    let Some((source_type, name)) = SourceType::of_full_ref(full_ref) else {
        return Ok(push::event(push.repository.into(), Vec::new(), &[full_ref]));
    };
    let kind = match push.deleted || push::is_zero(&push.after) {
        true => ChangeKind::Deleted,
        false => push::updated(source_type, push.before.as_deref(), push.after, push.head_commit),
    };
    let change = push::change(source_type, name, kind)?;
    Ok(push::event(push.repository.into(), vec![change], &[]))
}

impl From<Repository<'_>> for PushedRepository {
    fn from(repository: Repository<'_>) -> Self {
        let urls = [
            repository.clone_url,
            repository.git_url,
            repository.ssh_url,
            repository.html_url,
        ];
        Self {
            full_name: repository.full_name.into_owned(),
            urls: urls.into_iter().flatten().map(Cow::into_owned).collect(),
        }
    }
}
