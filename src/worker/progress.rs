//! What a build says, on its way to the store: the log by its writer, the steps as often as anybody could look.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Parts, Stop, StopReason};
use crate::{
    build_log::BuildLogs,
    domain::{
        build::{BaseImage, Step},
        ids::BuildId,
        progress::Progress,
    },
    logs::{
        mask::Masker,
        writer::{LogTarget, LogWriter},
    },
    signals::Signals,
    store::{Build, Lease, LeaseLost, Store},
};

/// Steps change many times a second; this often is enough for those who watch.
const STORE_STEPS_EVERY: Duration = Duration::from_millis(500);

/// Takes what one attempt says.
pub(super) struct BuildProgress {
    build: BuildId,
    logs: Arc<BuildLogs>,
    writer: LogWriter,
    steps: watch::Sender<Vec<Step>>,
    base_images: Mutex<Vec<BaseImage>>,
    _steps_task: AbortOnDropHandle<()>,
}

impl BuildProgress {
    /// `stop` is told when it turns out that another attempt owns the build.
    pub(super) fn start(parts: &Parts, lease: &Lease, build: &Build, masker: Arc<Masker>, stop: Stop) -> Self {
        let target = LogTarget {
            store: parts.logs.clone(),
            lease: Arc::new(lease.clone()),
            build: build.id.clone(),
            offset: build.log_size,
            max_bytes: parts.settings.max_log_bytes,
        };
        let fenced = CancellationToken::new();
        let writer = LogWriter::start(target, masker, parts.logs.hub().clone(), fenced.clone());
        let steps = watch::Sender::new(Vec::new());
        let task = tokio::spawn(store_steps(
            parts.store.clone(),
            parts.signals.clone(),
            lease.clone(),
            steps.subscribe(),
            fenced,
            stop,
        ));
        Self {
            build: build.id.clone(),
            logs: parts.logs.clone(),
            writer,
            steps,
            base_images: Mutex::default(),
            _steps_task: AbortOnDropHandle::new(task),
        }
    }

    /// Stores what is left of log and steps.
    pub(super) async fn finish(&self, store: &Store, lease: &Lease) {
        if let Err(error) = self.writer.finish().await {
            tracing::warn!(%error, build = %self.build, "the end of a log was lost");
        }
        let steps = self.last_steps();
        if let Err(LeaseLost::Store(error)) = store.set_steps(lease, &steps).await {
            tracing::warn!(%error, build = %self.build, "the last steps of a build were lost");
        }
    }

    /// Tells viewers that nothing more will come. Called once the build has ended in the store.
    pub(super) fn ended(&self) {
        self.logs.hub().changed(&self.build);
    }

    fn last_steps(&self) -> Vec<Step> {
        self.steps.borrow().clone()
    }

    /// The images that the build stood on, as far as it got.
    pub(super) fn last_base_images(&self) -> Vec<BaseImage> {
        self.base_images.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Progress for BuildProgress {
    fn write(&self, bytes: &[u8]) {
        self.writer.write(bytes);
    }

    fn steps(&self, steps: Vec<Step>) {
        self.steps.send_replace(steps);
    }

    fn base_images(&self, images: Vec<BaseImage>) {
        *self.base_images.lock().unwrap_or_else(PoisonError::into_inner) = images;
    }

    fn line(&self, text: &str) {
        self.writer.line(text);
    }
}

async fn store_steps(
    store: Store,
    signals: Signals,
    lease: Lease,
    mut steps: watch::Receiver<Vec<Step>>,
    fenced: CancellationToken,
    stop: Stop,
) {
    loop {
        tokio::select! {
            () = fenced.cancelled() => return stop.now(StopReason::LeaseLost),
            changed = steps.changed() => if changed.is_err() { return },
        }
        let newest = steps.borrow_and_update().clone();
        match store.set_steps(&lease, &newest).await {
            Ok(()) => signals.build_got_on(),
            Err(LeaseLost::Lost) => return stop.now(StopReason::LeaseLost),
            Err(LeaseLost::Store(error)) => tracing::warn!(%error, "failed to store a build's steps"),
        }
        tokio::time::sleep(STORE_STEPS_EVERY).await;
    }
}
