//! GitHub's container registry, by the webhook events `registry_package` and `package`.
//!
//! <https://docs.github.com/en/webhooks/webhook-events-and-payloads#registry_package>

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};

use super::{NotificationError, Report};
use crate::strict_json;

pub(super) const EVENT_HEADER: &str = "x-github-event";

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow, alias = "package")]
    registry_package: Package<'a>,
}

#[derive(Deserialize)]
struct Package<'a> {
    #[serde(borrow)]
    package_version: Option<Version<'a>>,
}

#[derive(Deserialize)]
struct Version<'a> {
    /// Only an image has it.
    container_metadata: Option<IgnoredAny>,
    /// `ghcr.io/Owner/name:tag`, with nothing after the colon for an image without a tag.
    #[serde(borrow)]
    package_url: Option<Cow<'a, str>>,
}

/// Reads the payload of the event that the header names.
pub(super) fn read(event: Option<&str>, text: &str, report: &mut Report) -> Result<(), NotificationError> {
    if !matches!(event, Some("registry_package" | "package")) {
        report.ignore();
        return Ok(());
    }
    let payload: Payload<'_> = strict_json::read(text)?;
    let url = match (payload.action.as_ref(), payload.registry_package.package_version) {
        (
            "published" | "updated",
            Some(Version {
                container_metadata: Some(_),
                package_url: Some(url),
            }),
        ) => url,
        _ => {
            report.ignore();
            return Ok(());
        }
    };
    let named = url.split_once('/').and_then(|(_, image)| image.rsplit_once(':'));
    let Some((path, tag)) = named else {
        return Err(NotificationError::malformed(
            "`package_url` does not name an image and its tag",
        ));
    };
    // Owners are spelled as they like to be; images have no capitals.
    report.push(&path.to_ascii_lowercase(), tag)
}
