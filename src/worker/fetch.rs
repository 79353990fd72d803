//! The first phase: the exact commit, out of git.

use std::{sync::Arc, time::Duration};

use super::{attempt::Attempt, fault::Fault};
use crate::{
    domain::{build::ErrorKind, progress::Progress, source_url::SourceUrl},
    source::{Checkout, SourceError, Wanted},
};

/// Pauses between tries while the source cannot be reached; one try more than there are pauses.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15)];

/// Fetches what the build is of. Faults that pass are waited out, up to a bound.
pub(super) async fn fetch(attempt: &Attempt<'_>) -> Result<Checkout, Fault> {
    let Attempt {
        parts,
        build,
        repository,
        progress,
        stop,
        ..
    } = attempt;
    // The gate is applied once more: what is allowed may have changed since the source was saved.
    let url = SourceUrl::parse(&repository.source.url, parts.settings.source_policy).map_err(|refused| {
        Fault::fails(
            ErrorKind::Source,
            format!("{} is not fetched from: {refused}", repository.source.url),
        )
    })?;
    let (kind, name) = (build.source_type, &build.source_name);
    let wanted = match &build.commit {
        Some(sha) => Wanted::Commit {
            sha: sha.clone(),
            source_type: kind,
            name: Some(name.clone()),
        },
        None => Wanted::Ref {
            source_type: kind,
            name: name.clone(),
        },
    };
    let what = build
        .commit
        .as_deref()
        .map_or(String::new(), |sha| format!(" at {sha}"));
    progress.line(&format!(
        "fetching {} {name} of {url}{what}",
        kind.as_str(),
        url = url.as_str()
    ));
    let mut pauses = PAUSES.iter();
    loop {
        match once(attempt, &url, &wanted).await {
            Ok(checkout) => return Ok(checkout),
            Err(SourceError::Canceled) => return Err(Fault::Stopped),
            Err(error) => {
                let pause = pauses.next().filter(|_| error.retryable());
                let Some(pause) = pause else { return Err(fault(&error)) };
                progress.line(&format!("{error}; trying again in {} s", pause.as_secs()));
                tokio::select! {
                    () = stop.token().cancelled() => return Err(Fault::Stopped),
                    () = tokio::time::sleep(*pause) => {}
                }
            }
        }
    }
}

/// One try: the commit, and its submodules if the source has them switched on.
async fn once(attempt: &Attempt<'_>, url: &SourceUrl, wanted: &Wanted) -> Result<Checkout, SourceError> {
    let Attempt {
        parts,
        repository,
        credentials,
        progress,
        stop,
        ..
    } = attempt;
    let mirror = repository.id.as_str();
    let shared: Arc<dyn Progress> = (*progress).clone();
    let checkout = parts
        .sources
        .fetch(
            mirror,
            url,
            credentials.git(),
            wanted,
            Arc::clone(&shared),
            stop.token(),
        )
        .await?;
    let first_line = checkout.message().lines().next().unwrap_or_default();
    progress.line(&format!("at {} {first_line}", checkout.commit()));
    if repository.source.submodules {
        return parts
            .sources
            .fetch_submodules(mirror, url, credentials.git(), checkout, shared, stop.token())
            .await;
    }
    let left_out = checkout.left_out_submodules();
    if !left_out.is_empty() {
        progress.line(&format!(
            "submodules are switched off; left out as empty directories: {}",
            left_out.join(", ")
        ));
    }
    Ok(checkout)
}

fn fault(error: &SourceError) -> Fault {
    let kind = match error {
        SourceError::Location(_) => ErrorKind::Dockerfile,
        _ => ErrorKind::Source,
    };
    Fault::fails(kind, error.to_string())
}
