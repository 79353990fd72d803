//! One look at one source, and what follows from it.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::{PollerParts, after, hosts::Hosts};
use crate::{
    domain::{
        remote_refs::{self, Changed, RemoteRef, Seen},
        repository::Repository,
        source_url::SourceUrl,
    },
    intake::IntakeError,
    secrets::{self, SourceCredentials},
    source::{GitCredentials, SourceError},
    store::{DuePoll, EndedPoll, LastSeen, StoreError},
};

/// How long the right to a look lasts. More than one takes: if nobody gave it back by then, its process died.
const CLAIM: TimeDelta = TimeDelta::minutes(10);

/// What was built or told this long before the last look still counts: a forge may tell of a push before it shows it.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);

/// Looks are so much sooner than they are due, by chance, as a part of the time between.
const JITTER: f64 = 0.1;

/// The longest time to the next look after those that failed for a reason of the repository's own.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);

/// Time to the next look after one that came to no end.
const AGAIN: Duration = Duration::from_secs(30);

/// Why a look saw nothing.
enum Problem {
    /// The server's: others on it would fare the same.
    Host(String),
    /// This repository's, for people to put right.
    Own(String),
    /// Ours, or we are to end: it is looked at again, and nobody need know.
    Passing(String),
}

/// Looks at a source, unless another does, and has built what was missed.
pub(super) async fn at(
    parts: &PollerParts,
    hosts: &Hosts,
    host: &str,
    due: &DuePoll,
    shutdown: &CancellationToken,
) -> Result<(), StoreError> {
    let began = parts.clock.now();
    let Some(claim) = parts.store.claim_poll(&due.repository, began, began + CLAIM).await? else {
        return Ok(());
    };
    let Some(found) = parts.store.repository(&due.repository).await? else {
        return Ok(());
    };
    let repository = found.repository;
    let last_webhook = parts.store.last_webhook(&due.repository).await?;
    let between = parts.settings.pace.between(last_webhook, began);
    let next_at = after(began, between.mul_f64(1.0 - JITTER * rand::random::<f64>()));
    let last = parts.store.last_seen(&due.repository).await?;
    let is_watched = repository.rules.iter().any(|rule| rule.autobuild);
    let refs = match is_watched {
        true => ask(parts, &repository, shutdown).await,
        false => Ok(vec![]),
    };
    let result = match refs {
        Ok(refs) => {
            if is_watched {
                hosts.succeeded(host);
            }
            build_missed(parts, &repository, refs, last).await
        }
        Err(problem) => Err(problem),
    };
    let failures = due.failures;
    let (next_at, result) = match result {
        Ok(seen) => (next_at, Some(Ok(seen))),
        Err(Problem::Host(problem)) => (hosts.failed(host, parts.clock.now()), Some(Err(problem))),
        Err(Problem::Own(problem)) => (next_at.max(after(began, pause(between, failures))), Some(Err(problem))),
        Err(Problem::Passing(problem)) => {
            tracing::warn!(problem, repository = %repository.name, "a look at a source came to no end");
            (after(began, AGAIN), None)
        }
    };
    if let Some(Err(problem)) = &result {
        // Once: what goes on failing is on the repository's page.
        match failures {
            0 => tracing::warn!(problem, repository = %repository.name, "failed to look at a source"),
            _ => tracing::debug!(problem, failures, repository = %repository.name, "failed again to look at a source"),
        }
    }
    let ended = EndedPoll {
        at: (is_watched && result.is_some()).then_some(began),
        next_at,
        result,
    };
    if !parts.store.end_poll(&claim, &ended).await? {
        tracing::warn!(repository = %repository.name, "a look took so long that another began");
    }
    Ok(())
}

/// The time to the next look after one that failed, as others did before it.
fn pause(between: Duration, failures: u32) -> Duration {
    let doubled = between.saturating_mul(2 << failures.min(10));
    doubled.min(LONGEST_PAUSE).max(between)
}

/// Branches and tags as the server has them now.
async fn ask(
    parts: &PollerParts,
    repository: &Repository,
    shutdown: &CancellationToken,
) -> Result<Vec<RemoteRef>, Problem> {
    // The gate is applied once more: what is allowed may have changed since the source was saved.
    let url = SourceUrl::parse(&repository.source.url, parts.settings.source_policy)
        .map_err(|refused| Problem::Own(format!("{} is not looked at: {refused}", repository.source.url)))?;
    let credentials = credentials(parts, repository).await?;
    let listed = parts.sources.list(&url, credentials, shutdown).await;
    listed.map_err(|error| match error {
        SourceError::Canceled | SourceError::Mirror(_) => Problem::Passing(error.to_string()),
        error if error.retryable() => Problem::Host(error.to_string()),
        error => Problem::Own(error.to_string()),
    })
}

async fn credentials(parts: &PollerParts, repository: &Repository) -> Result<Option<GitCredentials>, Problem> {
    let sealed = parts.store.source_credentials(&repository.id).await;
    let Some(sealed) = sealed.map_err(|error| Problem::Passing(error.to_string()))? else {
        return Ok(None);
    };
    let opened = parts
        .vault
        .open(&secrets::source_credentials(repository.id.as_str()), &sealed)
        .map_err(|error| Problem::Own(format!("the stored source credentials cannot be opened: {error}")))?;
    let parsed = SourceCredentials::from_text(&opened)
        .ok_or_else(|| Problem::Own("the stored source credentials make no sense; set them again".to_owned()))?;
    Ok(Some(GitCredentials {
        username: parsed.username,
        password: parsed.password,
    }))
}

/// Holds what the server has against what was seen last, and has built what was missed. What was seen is kept only after
/// that: a crash in between finds it again, and builds nothing twice.
async fn build_missed(
    parts: &PollerParts,
    repository: &Repository,
    refs: Vec<RemoteRef>,
    last: Option<LastSeen>,
) -> Result<Seen, Problem> {
    let since = last.as_ref().map(|last| last.at - OVERLAP);
    let (seen, changed) = compare(repository, refs, last).await?;
    let Some(since) = since.filter(|_| !changed.is_empty()) else {
        return Ok(seen);
    };
    match parts.intake.missed(repository, changed, since).await {
        Ok(accepted) => {
            for accepted in accepted {
                tracing::info!(
                    repository = %repository.name, outcome = accepted.outcome.as_str(), reason = accepted.reason,
                    "a push was found that no webhook told of"
                );
            }
            Ok(seen)
        }
        Err(error @ (IntakeError::Overloaded(_) | IntakeError::Gone)) => Err(Problem::Passing(error.to_string())),
        Err(IntakeError::Refused(reason)) => Err(Problem::Own(reason)),
    }
}

/// Where it may take a while: a server may have very many refs.
async fn compare(
    repository: &Repository,
    refs: Vec<RemoteRef>,
    last: Option<LastSeen>,
) -> Result<(Seen, Vec<Changed>), Problem> {
    let (source, rules) = (repository.source.url.clone(), repository.rules.clone());
    let last = last.map(|last| last.seen);
    tokio::task::spawn_blocking(move || remote_refs::compare(&source, &rules, refs, last.as_ref()))
        .await
        .map_err(|error| Problem::Passing(format!("what was seen could not be compared: {error}")))?
        .map_err(|error| Problem::Own(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_fail_for_the_repositorys_own_reason_become_rare_but_not_rarer_than_others() {
        let seconds = |between, failures| pause(Duration::from_secs(between), failures).as_secs();
        assert_eq!(
            [0, 1, 2, 3].map(|failures| seconds(120, failures)),
            [240, 480, 960, 1920]
        );
        assert_eq!(seconds(120, u32::MAX), 6 * 60 * 60);
        assert_eq!(seconds(86_400, 0), 86_400);
    }
}
