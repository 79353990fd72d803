//! Removes from the engine what builds of a process that died have left there.

use std::{collections::HashSet, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{Parts, pause};
use crate::{domain::build::Status, domain::ids::BuildId, engine::EngineError, store::StoreError};

const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// While the engine cannot be asked; at the start it may not be up yet.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub(super) async fn run(parts: Parts, shutdown: CancellationToken) {
    loop {
        let next = match sweep(&parts).await {
            Ok(()) => SWEEP_EVERY,
            Err(error) => {
                tracing::debug!(%error, "failed to sweep the engine");
                TRY_AGAIN_EVERY
            }
        };
        if !pause(next, &shutdown).await {
            return;
        }
    }
}

/// Others may use the same engine: only what builds of this installation left is touched, once they have ended.
async fn sweep(parts: &Parts) -> Result<(), SweepError> {
    let mut over = HashSet::new();
    for id in parts.engine.builds_with_traces().await? {
        let build = parts.store.build(&BuildId::from(id.as_str())).await?;
        if build.is_some_and(|build| build.status != Status::Running) {
            over.insert(id);
        }
    }
    if !over.is_empty() {
        let swept = parts.engine.sweep(|id| over.contains(id)).await?;
        tracing::info!(
            containers = swept.containers,
            names = swept.names,
            "swept what dead builds left in the engine"
        );
    }
    Ok(())
}
