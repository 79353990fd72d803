//! From a queued build to a pushed image. A worker claims builds, keeps its leases alive, and stops what it is told to stop.

mod attempt;
mod credentials;
mod engine_health;
mod fault;
mod fetch;
mod filter;
mod housekeeping;
mod lease_keeper;
mod progress;
mod publish;
mod record;
mod run;
mod stop;
mod sweep;
mod work;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::housekeeping::Places;
use self::stop::{Stop, StopReason};
use crate::{
    build_log::BuildLogs,
    clock::Clock,
    domain::{engine_health::EngineHealth, ids::WorkerId},
    engine::{Builder, Engine},
    registry::Registries,
    signals::Signals,
    source::Sources,
    store::{self, PoisonLimit, Store},
    vault::Vault,
};

/// How long a worker may be silent before its builds are taken over. With [`REAP_EVERY`] this keeps a takeover within a
/// minute.
const LEASE: Duration = Duration::from_secs(30);

/// How often expired leases are looked for.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// How often a worker tells that it is alive.
const SEEN_EVERY: Duration = Duration::from_secs(10);

/// How often the queue is looked at without being told that it changed: for builds queued by another process, and those
/// whose pause is over.
const POLL_QUEUE: Duration = Duration::from_secs(1);

/// How long builds that were told to stop may take to clean up.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Attempts before a build is set aside as one that brings its workers down or meets the same fault each time.
const MOST_ATTEMPTS: PoisonLimit = PoisonLimit(5);

/// Everything a worker works with. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub store: Store,
    pub vault: Arc<Vault>,
    pub clock: Clock,
    pub signals: Signals,
    pub sources: Sources,
    pub engine: Engine,
    pub registries: Registries,
    pub logs: Arc<BuildLogs>,
    pub settings: WorkerSettings,
}

/// What a worker needs of the configuration.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Builds at once.
    pub concurrency: u32,
    /// Longest time a build may take.
    pub build_timeout: Duration,
    /// How long a shutdown waits for running builds before it gives them back to the queue.
    pub drain: Duration,
    /// Largest log of a build, in bytes.
    pub max_log_bytes: u64,
    pub builder: Builder,
    pub allowed_frontends: Vec<String>,
    pub source_policy: crate::domain::source_url::SourcePolicy,
    pub places: Places,
}

/// A process that builds.
pub struct Worker {
    parts: Parts,
    id: WorkerId,
    name: String,
    health: watch::Sender<EngineHealth>,
    /// What the engine builds for by itself; empty as long as it has not said.
    platform: watch::Sender<String>,
}

impl Worker {
    /// `name` is the machine's. `id` stays the same over restarts on the same data directory, which only one process
    /// at a time holds.
    pub fn new(parts: Parts, id: WorkerId, name: String) -> Self {
        Self {
            parts,
            id,
            name,
            health: watch::Sender::new(EngineHealth::Unknown),
            platform: watch::Sender::default(),
        }
    }

    /// Whether the engine can be used, as last seen.
    pub fn engine_health(&self) -> watch::Receiver<EngineHealth> {
        self.health.subscribe()
    }

    /// Builds until `shutdown`, then waits for what runs, and gives back to the queue what does not end in time.
    pub async fn run(self, shutdown: CancellationToken) {
        self.take_back_own_builds().await;
        let mut side_tasks = JoinSet::new();
        side_tasks.spawn(engine_health::watch(
            self.parts.engine.clone(),
            (self.health.clone(), self.platform.clone()),
            shutdown.clone(),
        ));
        side_tasks.spawn(sweep::run(self.parts.clone(), shutdown.clone()));
        side_tasks.spawn(housekeeping::run(self.parts.clone(), self.id.clone(), shutdown.clone()));
        side_tasks.spawn(reap_expired(self.parts.clone(), shutdown.clone()));
        side_tasks.spawn(tell_alive(
            self.parts.clone(),
            (self.id.clone(), self.name.clone()),
            self.platform.subscribe(),
            shutdown.clone(),
        ));
        let stop_all = CancellationToken::new();
        let mut attempts = JoinSet::new();
        self.claim_until(&shutdown, &stop_all, &mut attempts).await;
        drain(&mut attempts, &stop_all, self.parts.settings.drain).await;
        side_tasks.shutdown().await;
    }

    /// Builds that an earlier process on this data directory left running are taken back at once: it is dead, since
    /// this one holds the directory's lock.
    async fn take_back_own_builds(&self) {
        match self
            .parts
            .store
            .reap_worker(&self.id, self.parts.clock.now(), MOST_ATTEMPTS)
            .await
        {
            Ok((0, 0)) => {}
            Ok((requeued, ended)) => tracing::info!(requeued, ended, "took back builds of the process before"),
            Err(error) => tracing::error!(%error, "failed to take back builds of the process before"),
        }
    }

    async fn claim_until(
        &self,
        shutdown: &CancellationToken,
        stop_all: &CancellationToken,
        attempts: &mut JoinSet<()>,
    ) {
        let mut health = self.health.subscribe();
        loop {
            // Interest is registered before the queue is looked at, so that no wake-up is lost.
            let changed = self.parts.signals.on_queue_change(POLL_QUEUE);
            while let Some(finished) = attempts.try_join_next() {
                log_panic(finished);
            }
            let has_place = attempts.len() < self.parts.settings.concurrency as usize;
            let engine_up = matches!(*health.borrow_and_update(), EngineHealth::Up(_));
            if has_place && engine_up && !shutdown.is_cancelled() && self.claim_one(stop_all, attempts).await {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = changed => {}
                _ = health.changed() => {}
                Some(finished) = attempts.join_next(), if !attempts.is_empty() => log_panic(finished),
            }
        }
    }

    /// Claims one build and starts on it; `false` if there was none.
    async fn claim_one(&self, stop_all: &CancellationToken, attempts: &mut JoinSet<()>) -> bool {
        match self.parts.store.claim(&self.id, self.parts.clock.now(), LEASE).await {
            Ok(Some(leased)) => {
                let stop = Stop::new();
                attempts.spawn(run::run(self.parts.clone(), leased, stop, stop_all.clone()));
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!(%error, "failed to look for a build");
                false
            }
        }
    }
}

/// Waits for the running attempts; what has not ended after `patience` is told to stop.
async fn drain(attempts: &mut JoinSet<()>, stop_all: &CancellationToken, patience: Duration) {
    if !attempts.is_empty() {
        tracing::info!(builds = attempts.len(), "waiting for running builds");
    }
    let all_ended = async {
        while let Some(finished) = attempts.join_next().await {
            log_panic(finished);
        }
    };
    if tokio::time::timeout(patience, all_ended).await.is_ok() {
        return;
    }
    tracing::info!(builds = attempts.len(), "giving builds back to the queue");
    stop_all.cancel();
    let all_stopped = async { while attempts.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all_stopped).await.is_err() {
        // Their leases run out, and another worker takes them over.
        tracing::warn!(builds = attempts.len(), "builds did not stop in time");
        attempts.shutdown().await;
    }
}

fn log_panic(finished: Result<(), tokio::task::JoinError>) {
    if let Err(error) = finished {
        // The lease runs out and the build is tried again, up to its limit.
        tracing::error!(%error, "an attempt ended by a bug");
    }
}

async fn reap_expired(parts: Parts, shutdown: CancellationToken) {
    while pause(REAP_EVERY, &shutdown).await {
        match parts.store.reap(parts.clock.now(), MOST_ATTEMPTS).await {
            Ok((0, 0)) => {}
            Ok((requeued, ended)) => {
                tracing::warn!(requeued, ended, "took over builds whose worker had died");
                parts.signals.queue_changed();
                parts.signals.build_ended();
            }
            Err(error) => tracing::error!(%error, "failed to look for expired leases"),
        }
    }
}

async fn tell_alive(
    parts: Parts,
    (id, name): (WorkerId, String),
    mut platform: watch::Receiver<String>,
    shutdown: CancellationToken,
) {
    let started_at = parts.clock.now();
    loop {
        let worker = store::Worker {
            id: id.clone(),
            name: name.clone(),
            concurrency: i64::from(parts.settings.concurrency),
            started_at,
            last_seen_at: parts.clock.now(),
            paused: false,
            disk: None,
            platform: platform.borrow_and_update().clone(),
        };
        if let Err(error) = parts.store.worker_seen(&worker).await {
            tracing::error!(%error, "failed to tell that this worker is alive");
        }
        tokio::select! {
            go_on = pause(SEEN_EVERY, &shutdown) => if !go_on { return },
            // What it builds for decides whether a new version of a base image concerns it: told at once.
            Ok(()) = platform.changed() => {}
        }
    }
}

/// Waits; `false` if the shutdown came first.
async fn pause(duration: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(duration) => true,
    }
}
