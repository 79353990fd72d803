//! Takes waves further: begins those that have settled, moves their items on, and ends them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{WatcherParts, steps};
use crate::{
    domain::{
        build::{CauseKind, Status},
        ids::BuildId,
        wave::WaveState,
    },
    store::StoreError,
};

/// How long to wait without being told anything: builds end in other processes too.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Who cancels builds that a newer version made needless.
const NEWER_VERSION: &str = "a newer version of a base image";

pub(super) async fn run(parts: &WatcherParts, shutdown: &CancellationToken) {
    loop {
        let changed = parts.signals.on_base_image_change(LOOK_EVERY);
        let next = match pass(parts).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "failed to take waves further");
                LOOK_EVERY
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changed => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}

/// One pass over all open waves. Answers how long until one settles.
pub(super) async fn pass(parts: &WatcherParts) -> Result<Duration, StoreError> {
    if let Some((wave, begun)) = parts.store.begin_settled_wave(parts.clock.now()).await? {
        tracing::info!(%wave, rebuilds = begun.items, "a wave of rebuilds begins");
        for build in &begun.needless {
            cancel_if_queued(parts, build).await?;
        }
        parts.signals.base_images_changed();
    }
    let mut next = LOOK_EVERY;
    for wave in parts.store.open_waves().await? {
        if wave.state == WaveState::Settling {
            let left = (wave.settles_at - parts.clock.now()).to_std().unwrap_or_default();
            next = next.min(left);
            continue;
        }
        steps::take(parts, &wave).await?;
        if parts.store.end_wave_if_done(&wave.id, parts.clock.now()).await? {
            tracing::info!(wave = %wave.id, "a wave of rebuilds has ended");
            parts.signals.base_images_changed();
        }
    }
    Ok(next)
}

/// Cancels a build of ours that has not started.
async fn cancel_if_queued(parts: &WatcherParts, build: &BuildId) -> Result<(), StoreError> {
    let found = parts.store.build(build).await?;
    if found.is_some_and(|build| build.status == Status::Queued && build.cause.kind() == CauseKind::BaseImage) {
        parts
            .store
            .request_cancel(build, NEWER_VERSION, parts.clock.now())
            .await?;
        parts.signals.cancel_requested();
        parts.signals.build_ended();
    }
    Ok(())
}
