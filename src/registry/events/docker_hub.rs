//! Docker Hub: one pushed tag, in a report that nobody signed. Its `callback_url` is never asked.
//!
//! <https://docs.docker.com/docker-hub/repos/manage/webhooks/>

use std::borrow::Cow;

use serde::Deserialize;

use super::{NotificationError, Report};
use crate::strict_json;

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    push_data: PushData<'a>,
    #[serde(borrow)]
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct PushData<'a> {
    #[serde(borrow)]
    tag: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    repo_name: Cow<'a, str>,
}

pub(super) fn read(text: &str, report: &mut Report) -> Result<(), NotificationError> {
    let payload: Payload<'_> = strict_json::read(text)?;
    report.push(
        &payload.repository.repo_name,
        &payload.push_data.tag.unwrap_or_default(),
    )
}
