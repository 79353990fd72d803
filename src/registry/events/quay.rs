//! Quay: the tags of one repository. Its other reports (builds, scans) have no `updated_tags`.
//!
//! <https://docs.quay.io/guides/notifications.html>

use std::borrow::Cow;

use serde::Deserialize;

use super::{Events, NotificationError, Report};
use crate::strict_json;

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    repository: Cow<'a, str>,
    #[serde(borrow)]
    updated_tags: Option<Events<Cow<'a, str>>>,
}

pub(super) fn read(text: &str, report: &mut Report) -> Result<(), NotificationError> {
    let payload: Payload<'_> = strict_json::read(text)?;
    match payload.updated_tags {
        None => report.ignore(),
        Some(tags) => {
            for tag in tags.0 {
                report.push(&payload.repository, &tag)?;
            }
        }
    }
    Ok(())
}
