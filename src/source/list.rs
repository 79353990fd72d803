//! What branches and tags a source has, without fetching anything of them.

use git2::ObjectType;

use super::advertisement::Advertisement;

use super::{SourceError, fetch::Fetch, local};
use crate::domain::remote_refs::RemoteRef;
use crate::domain::rule::SourceType;
use crate::domain::{build::Step, progress::Progress};

/// A question belongs to no build, so nobody is told of its progress.
pub(super) struct Untold;

impl Progress for Untold {
    fn write(&self, _bytes: &[u8]) {}

    fn steps(&self, _steps: Vec<Step>) {}
}

/// Branches and tags out of what a server said first.
pub(super) fn advertised(advertisement: &Advertisement) -> Vec<RemoteRef> {
    let mut found: Vec<RemoteRef> = Vec::new();
    for (name, oid) in advertisement.refs() {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let (full, is_peeled) = match name.strip_suffix("^{}") {
            Some(full) => (full, true),
            None => (name, false),
        };
        let Some((source_type, name)) = SourceType::of_full_ref(full) else {
            continue;
        };
        match (is_peeled, found.last_mut()) {
            // It follows the tag that it is of.
            (true, Some(tag)) if tag.source_type == source_type && tag.name == name => tag.commit = oid.to_string(),
            (true, _) => {}
            (false, _) => found.push(RemoteRef {
                source_type,
                name: name.to_owned(),
                commit: oid.to_string(),
                object: oid.to_string(),
            }),
        }
    }
    found
}

/// The same of a repository on this machine.
fn on_disk(fetch: &Fetch) -> Result<Vec<RemoteRef>, SourceError> {
    let source = local::open(fetch.url.as_url())?;
    let mut found = Vec::new();
    for reference in source.references()? {
        fetch.limits.check()?;
        let reference = reference?;
        let Some((source_type, name)) = reference.name().ok().and_then(SourceType::of_full_ref) else {
            continue;
        };
        let Some(object) = reference.resolve().ok().and_then(|resolved| resolved.target()) else {
            continue;
        };
        let commit = source
            .find_object(object, None)
            .and_then(|found| found.peel(ObjectType::Commit))
            .map_or(object, |commit| commit.id());
        found.push(RemoteRef {
            source_type,
            name: name.to_owned(),
            commit: commit.to_string(),
            object: object.to_string(),
        });
        if found.len() > fetch.max_refs {
            return Err(SourceError::TooLarge(format!(
                "the repository has more than {} refs",
                fetch.max_refs
            )));
        }
    }
    Ok(found)
}

/// One question, within the limits of a fetch.
pub(super) async fn list(fetch: Fetch) -> Result<Vec<RemoteRef>, SourceError> {
    if fetch.url.as_url().scheme() == "file" {
        return tokio::task::spawn_blocking(move || on_disk(&fetch))
            .await
            .map_err(SourceError::mirror)?;
    }
    let asked = fetch.http.connect(
        fetch.url.as_url(),
        fetch.credentials.as_ref(),
        fetch.max_refs,
        &fetch.limits,
    );
    Ok(advertised(&asked.await?.advertisement))
}
