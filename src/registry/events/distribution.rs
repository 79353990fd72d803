//! The CNCF's `distribution`: an envelope of events, of which most are pulls and layers.
//!
//! <https://distribution.github.io/distribution/about/notifications/>

use std::borrow::Cow;

use serde::Deserialize;

use super::{Events, NotificationError, Report};
use crate::strict_json;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    events: Events<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    target: Option<Target<'a>>,
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow)]
    repository: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tag: Option<Cow<'a, str>>,
}

pub(super) fn read(text: &str, report: &mut Report) -> Result<(), NotificationError> {
    let envelope: Envelope<'_> = strict_json::read(text)?;
    for event in envelope.events.0 {
        match (event.action.as_ref(), event.target) {
            (
                "push",
                Some(Target {
                    repository: Some(repository),
                    tag: Some(tag),
                }),
            ) => report.push(&repository, &tag)?,
            _ => report.ignore(),
        }
    }
    Ok(())
}
