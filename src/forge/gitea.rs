//! The push event of Gitea and of Forgejo, which speaks of branches and tags alike.
//!
//! Both also send headers with GitHub's names, and Forgejo those with Gitea's: only those of Gitea and Forgejo are looked at.
//! `create` and `delete` come beside the push, and name no commit.
//!
//! <https://docs.gitea.com/usage/webhooks>, <https://forgejo.org/docs/latest/user/webhooks/>

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

pub const EVENT_HEADERS: [&str; 2] = ["X-Gitea-Event", "X-Forgejo-Event"];
/// A replay by hand is a new delivery of the same body.
pub const DELIVERY_HEADERS: [&str; 2] = ["X-Gitea-Delivery", "X-Forgejo-Delivery"];
pub const PUSH: &str = "push";

/// A deletion is told by its zeros alone.
#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow, rename = "ref")]
    full_ref: Cow<'a, str>,
    #[serde(borrow)]
    before: Option<Cow<'a, str>>,
    #[serde(borrow)]
    after: Cow<'a, str>,
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
    let kind = match push::is_zero(&push.after) {
        true => ChangeKind::Deleted,
        false => push::updated(source_type, push.before.as_deref(), push.after, push.head_commit),
    };
    let change = push::change(source_type, name, kind)?;
    Ok(push::event(push.repository.into(), vec![change], &[]))
}

impl From<Repository<'_>> for PushedRepository {
    fn from(repository: Repository<'_>) -> Self {
        let urls = [repository.clone_url, repository.ssh_url, repository.html_url];
        Self {
            full_name: repository.full_name.into_owned(),
            urls: urls.into_iter().flatten().map(Cow::into_owned).collect(),
        }
    }
}
