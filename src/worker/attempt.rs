//! One attempt of one build: fetch, build, push; and what is recorded of how it ended.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat};
use tokio_util::sync::CancellationToken;

use super::{
    MOST_ATTEMPTS, Parts, Stop, StopReason,
    credentials::{self, Credentials},
    fetch, lease_keeper,
    progress::BuildProgress,
    publish,
};
use crate::{
    domain::{
        base,
        build::{Ending, ErrorKind, Failure, Phase, Step},
        context::BuildContext,
        event::kept_message,
        progress::Progress,
        repository::Repository,
    },
    engine::{BuildSpec, BuiltImage, EngineError},
    logs::mask::Masker,
    source::Checkout,
    store::{Build, Lease, LeaseLost, Leased, Requeue, StoreError},
};

/// First pause after a fault of the engine; it doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Pause between tries to record an end while the database is away.
const RECORD_AGAIN_EVERY: Duration = Duration::from_secs(1);

/// Why an attempt did not get to its end.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The build fails, for this reason.
    Fails(Failure),
    /// It will pass: the build is tried again later.
    Passes { why: String },
    /// A newer build holds the tags.
    Superseded { by: crate::domain::ids::BuildId },
    /// The attempt was told to stop, or can write no more.
    Stopped,
}

impl Fault {
    pub(super) fn fails(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Fails(Failure::new(kind, message))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Passes { why: error.to_string() }
    }
}

impl From<LeaseLost> for Fault {
    fn from(lost: LeaseLost) -> Self {
        match lost {
            LeaseLost::Lost => Self::Stopped,
            LeaseLost::Store(error) => error.into(),
        }
    }
}

/// What one attempt works with.
pub(super) struct Attempt<'a> {
    pub(super) parts: &'a Parts,
    pub(super) lease: &'a Lease,
    pub(super) build: &'a Build,
    pub(super) repository: &'a Repository,
    pub(super) credentials: &'a Credentials,
    pub(super) progress: &'a Arc<BuildProgress>,
    pub(super) stop: &'a Stop,
}

/// Runs one attempt, to its end or until it is stopped, and records how it ended.
pub(super) async fn run(parts: Parts, leased: Leased, stop: Stop, stop_all: CancellationToken) {
    let Leased { lease, build } = leased;
    let span = tracing::info_span!("build", id = %build.id, repository = %build.repository, number = build.number);
    tracing::info!(parent: &span, attempt = lease.attempt(), "started");
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
            work(&attempt).await
        }
        Err(fault) => Err(fault.clone()),
    };
    conclude(parts, lease, build, stop, &progress, outcome).await
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

/// Fetch, build, push.
async fn work(attempt: &Attempt<'_>) -> Result<Ending, Fault> {
    let Attempt {
        parts, lease, progress, ..
    } = attempt;
    if lease.attempt() > 1 {
        progress.line(&format!("attempt {}", lease.attempt()));
    }
    let checkout = fetch::fetch(attempt).await?;
    parts
        .store
        .set_commit(lease, checkout.commit(), &kept_message(checkout.message()))
        .await?;
    parts.store.set_phase(lease, Phase::Build).await?;
    let image = build_image(attempt, &checkout).await?;
    progress.line(&format!("built {}", image.id()));
    parts.store.set_phase(lease, Phase::Push).await?;
    let published = publish::publish(attempt, &image).await;
    // Without its temporary name an image that got no other goes away; if this fails, a sweep does it later.
    if let Err(error) = parts.engine.forget(&image).await {
        tracing::debug!(%error, build = %attempt.build.id, "failed to forget the temporary name of an image");
    }
    Ok(Ending::Succeeded { digest: published? })
}

async fn build_image(attempt: &Attempt<'_>, checkout: &Checkout) -> Result<BuiltImage, Fault> {
    let Attempt {
        parts,
        build,
        repository,
        credentials,
        progress,
        stop,
        ..
    } = attempt;
    let plan = &build.plan;
    let context = checkout
        .context(&plan.dockerfile, &plan.context)
        .map_err(|error| Fault::fails(ErrorKind::Dockerfile, error.to_string()))?;
    let mut spec = BuildSpec {
        build_id: build.id.to_string(),
        tags: vec![],
        build_args: build_args(build, checkout),
        labels: labels(build, repository, checkout),
        target: Some(plan.target.clone()).filter(|target| !target.is_empty()),
        platform: plan.platforms.first().cloned(),
        no_cache: !plan.cache,
        pull: true,
        builder: parts.settings.builder,
        secrets: credentials.build_secrets.clone(),
        registry_auths: credentials.usable_registries(parts, progress.as_ref()).await,
        shared_key: format!("{}:{}", repository.id, plan.context),
        allowed_frontends: parts.settings.allowed_frontends.clone(),
    };
    let context: Arc<dyn BuildContext> = Arc::new(context);
    let shared: Arc<dyn Progress> = (*progress).clone();
    match parts
        .engine
        .build(&spec, context.clone(), shared.clone(), stop.token())
        .await
    {
        // A base image that only this engine has cannot be pulled: what it has is built on then.
        Err(EngineError::Refused(why) | EngineError::Registry(why)) => {
            progress.line(&format!("{why}; going on with the base images that the engine has"));
            spec.pull = false;
            parts
                .engine
                .build(&spec, context, shared, stop.token())
                .await
                .map_err(engine_fault)
        }
        built => built.map_err(engine_fault),
    }
}

/// What Docker Hub's hooks know by these names, for the `ARG`s that ask for it, and the rule's own values, which win.
fn build_args(build: &Build, checkout: &Checkout) -> BTreeMap<String, String> {
    let plan = &build.plan;
    let mut args: BTreeMap<String, String> = [
        ("SOURCE_BRANCH", build.source_name.clone()),
        ("SOURCE_COMMIT", checkout.commit().to_owned()),
        ("DOCKER_REPO", plan.image.clone()),
        ("DOCKER_TAG", plan.tags.join(",")),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    args.extend(plan.build_args.clone());
    args
}

/// The OCI annotations that say where an image came from, by the OCI image specification's pre-defined keys.
///
/// `created` is the commit's time, as reproducible builds have it (`SOURCE_DATE_EPOCH`): the same commit on the same base
/// gives the same image, so that a rebuild which changes nothing moves no tag.
fn labels(build: &Build, repository: &Repository, checkout: &Checkout) -> BTreeMap<String, String> {
    let created = DateTime::from_timestamp(checkout.committed_at(), 0).unwrap_or(build.queued_at);
    let version = build.plan.tags.first().cloned().unwrap_or_default();
    [
        ("org.opencontainers.image.revision", checkout.commit().to_owned()),
        ("org.opencontainers.image.source", repository.source.url.clone()),
        (
            "org.opencontainers.image.created",
            created.to_rfc3339_opts(SecondsFormat::Secs, true),
        ),
        ("org.opencontainers.image.version", version),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// What the engine's faults mean for the build.
pub(super) fn engine_fault(error: EngineError) -> Fault {
    match error {
        EngineError::Dockerfile(message) => Fault::fails(ErrorKind::Dockerfile, message),
        EngineError::Step(message) => Fault::fails(ErrorKind::Build, message),
        EngineError::Refused(message) | EngineError::Registry(message) => Fault::fails(ErrorKind::Registry, message),
        EngineError::Unavailable(message) | EngineError::Source(message) => Fault::Passes { why: message },
        EngineError::Canceled => Fault::Stopped,
    }
}

/// Writes the last line of the log and records the end, or gives the build back to the queue.
async fn conclude(
    parts: &Parts,
    lease: &Lease,
    build: &Build,
    stop: &Stop,
    progress: &Arc<BuildProgress>,
    outcome: Result<Ending, Fault>,
) -> Result<(), LeaseLost> {
    let minutes = parts.settings.build_timeout.as_secs() / 60;
    let stopped = |reason| match reason {
        Some(StopReason::Canceled) => Ok(Ending::Canceled),
        Some(StopReason::TimedOut) => {
            let message = format!("it took longer than a build may ({minutes} min, build_timeout_seconds)");
            Ok(Ending::Failed(Failure::new(ErrorKind::Timeout, message)))
        }
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
        Err(requeue) => format!("back to the queue: {}", requeue.why),
    };
    progress.line(&last_line);
    progress.finish(&parts.store, lease).await;
    tracing::info!(build = %build.id, repository = %build.repository, outcome = %last_line, "ended");
    record(parts, lease, build, conclusion, &progress.last_steps()).await?;
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
    steps: &[Step],
) -> Result<(), LeaseLost> {
    let base_images = base::images_of_steps(steps);
    loop {
        let recorded = match &conclusion {
            Ok(ending) => parts.store.finish(lease, ending, &base_images, parts.clock.now()).await,
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
