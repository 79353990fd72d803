//! One attempt of one build, from the claim to what is recorded of how it ended.

use std::{sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    MOST_ATTEMPTS, Parts, Stop, StopReason,
    attempt::Attempt,
    credentials::{self, Credentials},
    fault::Fault,
    lease_keeper,
    progress::BuildProgress,
    work::work,
};
use crate::{
    domain::{
        build::{BaseImage, Ending, ErrorKind, Failure},
        limits::Limits,
        progress::Progress,
        repository::Repository,
    },
    logs::mask::Masker,
    store::{Build, Lease, LeaseLost, Leased, Requeue, StoreError},
};

/// First pause after a fault of the engine; it doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Pause between tries to record an end while the database is away.
const RECORD_AGAIN_EVERY: Duration = Duration::from_secs(1);

/// Runs one attempt, to its end or until it is stopped, and records how it ended.
pub(super) async fn run(parts: Parts, leased: Leased, stop: Stop, stop_all: CancellationToken) {
    let Leased { lease, build } = leased;
    let span = tracing::info_span!("build", id = %build.id, repository = %build.repository, number = build.number);
    tracing::info!(parent: &span, attempt = lease.attempt(), "started");
    parts.signals.build_got_on();
    let done = CancellationToken::new();
    let keeper = tokio::spawn(lease_keeper::keep(
        parts.clone(),
        lease.clone(),
        stop.clone(),
        stop_all,
        done.clone(),
    ));
    let result = prepare_and_work(&parts, &lease, &build, &stop).await;
    done.cancel();
    // The keeper returns at once after `done`; if it panicked, the lease runs out by itself.
    let _ = keeper.await;
    if let Err(LeaseLost::Store(error)) = &result {
        tracing::error!(parent: &span, %error, "failed to record how it ended; its lease runs out");
    }
    parts.signals.build_ended();
    parts.signals.queue_changed();
}

async fn prepare_and_work(parts: &Parts, lease: &Lease, build: &Build, stop: &Stop) -> Result<(), LeaseLost> {
    let (prepared, masker) = prepare(parts, build).await;
    let progress = Arc::new(BuildProgress::start(parts, lease, build, masker, stop.clone()));
    let outcome = match &prepared {
        Ok((repository, credentials)) => {
            let attempt = Attempt {
                parts,
                lease,
                build,
                repository,
                credentials,
                progress: &progress,
                stop,
            };
            let _timer = stop_after(repository.limits.timeout(parts.settings.build_timeout), stop.clone());
            work(&attempt).await
        }
        Err(fault) => Err(fault.clone()),
    };
    let limits = prepared.map_or_else(|_| Limits::default(), |(repository, _)| repository.limits);
    conclude(parts, lease, build, (stop, limits), &progress, outcome).await
}

/// Stops an attempt that takes longer, until what is returned is dropped. The lease's keeper watches the server's own limit,
/// from the claim on.
fn stop_after(time: Duration, stop: Stop) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::time::sleep(time).await;
        stop.now(StopReason::TimedOut);
    }))
}

/// Why a build that took too long failed, naming the setting that somebody would change.
fn timed_out(most: Duration, limits: Limits) -> Failure {
    let allowed = limits.timeout(most);
    let (setting, whose) = match allowed < most {
        true => ("limits.timeout_seconds", "of this repository"),
        false => ("build_timeout_seconds", "of this server"),
    };
    let time = match allowed.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    };
    let message = format!("it took longer than a build {whose} may ({time}, {setting})");
    Failure::new(ErrorKind::Timeout, message)
}

/// Opens what the build may use, and makes what masks it in the log. Nothing is logged that could not be masked.
async fn prepare(parts: &Parts, build: &Build) -> (Result<(Repository, Credentials), Fault>, Arc<Masker>) {
    let prepared = credentials::load(parts, build).await;
    let secrets = prepared.iter().flat_map(|(_, credentials)| credentials.all_secrets());
    match Masker::new(secrets) {
        Ok(masker) => (prepared, Arc::new(masker)),
        Err(error) => (
            Err(Fault::fails(ErrorKind::Internal, error.to_string())),
            Arc::default(),
        ),
    }
}

/// Writes the last line of the log and records the end, or gives the build back to the queue.
async fn conclude(
    parts: &Parts,
    lease: &Lease,
    build: &Build,
    (stop, limits): (&Stop, Limits),
    progress: &Arc<BuildProgress>,
    outcome: Result<Ending, Fault>,
) -> Result<(), LeaseLost> {
    let stopped = |reason| match reason {
        Some(StopReason::Canceled) => Ok(Ending::Canceled),
        Some(StopReason::TimedOut) => Ok(Ending::Failed(timed_out(parts.settings.build_timeout, limits))),
        Some(StopReason::Shutdown) => Err(Requeue {
            why: "the worker was shut down".to_owned(),
            not_before: None,
            counts: false,
        }),
        Some(StopReason::LeaseLost) | None => Err(Requeue {
            why: "the attempt was broken off".to_owned(),
            not_before: None,
            counts: true,
        }),
    };
    let conclusion = match (outcome, stop.reason()) {
        // What is done is done: a cancel or a shutdown that came after the push changes nothing.
        (Ok(ending), _) => Ok(ending),
        (Err(Fault::Superseded { by }), _) => Ok(Ending::Superseded { by }),
        (Err(_), Some(reason)) => stopped(Some(reason)),
        (Err(Fault::Stopped), None) => stopped(None),
        (Err(Fault::Fails(failure)), None) => Ok(Ending::Failed(failure)),
        (Err(Fault::Passes { why }), None) if lease.attempt() >= MOST_ATTEMPTS.0 => {
            let message = format!("gave up after {} attempts: {why}", lease.attempt());
            Ok(Ending::Failed(Failure::new(ErrorKind::Engine, message)))
        }
        (Err(Fault::Passes { why }), None) => {
            let pause = (FIRST_PAUSE * 2u32.pow(lease.attempt().clamp(1, 10) as u32 - 1)).min(LONGEST_PAUSE);
            Err(Requeue {
                why,
                not_before: Some(parts.clock.now() + pause),
                counts: true,
            })
        }
    };
    let last_line = match &conclusion {
        Ok(Ending::Succeeded { .. }) => "succeeded".to_owned(),
        Ok(Ending::Failed(failure)) => format!("failed ({}): {}", failure.kind.as_str(), failure.message),
        Ok(Ending::Canceled) => "canceled".to_owned(),
        Ok(Ending::Superseded { .. }) => "superseded: a newer build holds every tag".to_owned(),
        Ok(Ending::Skipped { reason }) => format!("skipped: {reason}"),
        Err(requeue) => format!("back to the queue: {}", requeue.why),
    };
    progress.line(&last_line);
    progress.finish(&parts.store, lease).await;
    tracing::info!(build = %build.id, repository = %build.repository, outcome = %last_line, "ended");
    record(parts, lease, build, conclusion, &progress.last_base_images()).await?;
    progress.ended();
    Ok(())
}

/// Records how an attempt ended. While the database is away it is tried again, for the keeper still holds the lease;
/// when that is lost, so is the right to record anything.
async fn record(
    parts: &Parts,
    lease: &Lease,
    build: &Build,
    conclusion: Result<Ending, Requeue>,
    base_images: &[BaseImage],
) -> Result<(), LeaseLost> {
    loop {
        let recorded = match &conclusion {
            Ok(ending) => parts.store.finish(lease, ending, base_images, parts.clock.now()).await,
            Err(requeue) => parts.store.requeue(lease, requeue).await,
        };
        match recorded {
            Err(LeaseLost::Store(StoreError::Unavailable(error))) => {
                tracing::warn!(%error, build = %build.id, "failed to record how a build ended; trying again");
                tokio::time::sleep(RECORD_AGAIN_EVERY).await;
            }
            recorded => return recorded,
        }
    }
}
