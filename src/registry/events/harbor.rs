//! Harbor, of version 1 and 2, in both of its formats.
//!
//! <https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks/>

use std::borrow::Cow;

use serde::Deserialize;

use super::{Events, NotificationError, Report};
use crate::strict_json;

/// What a push is called: in the default format, in that of Harbor 1, and as a CloudEvent.
const PUSHES: [&str; 3] = ["PUSH_ARTIFACT", "pushImage", "harbor.artifact.pushed"];

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow, alias = "data")]
    event_data: EventData<'a>,
}

#[derive(Deserialize)]
struct EventData<'a> {
    #[serde(borrow)]
    resources: Events<Resource<'a>>,
    #[serde(borrow)]
    repository: Repository<'a>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    /// Of what was pushed by digest: the digest.
    #[serde(borrow)]
    tag: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Repository<'a> {
    #[serde(borrow)]
    repo_full_name: Cow<'a, str>,
}

pub(super) fn read(text: &str, report: &mut Report) -> Result<(), NotificationError> {
    let kind: Kind<'_> = strict_json::read(text)?;
    if !PUSHES.contains(&kind.name.as_ref()) {
        report.ignore();
        return Ok(());
    }
    let Payload { event_data } = strict_json::read(text)?;
    for resource in event_data.resources.0 {
        report.push(&event_data.repository.repo_full_name, &resource.tag.unwrap_or_default())?;
    }
    Ok(())
}
