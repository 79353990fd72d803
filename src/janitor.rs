//! Puts away what ended builds leave: their logs are sealed, and the pieces in the store forgotten.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{build_log::BuildLogs, signals::Signals, store::Store};

/// How often to look without being told: for builds that ended in another process.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Logs put away before looking again.
const AT_ONCE: u32 = 50;

/// Works until `shutdown`.
pub async fn run(store: Store, logs: Arc<BuildLogs>, signals: Signals, shutdown: CancellationToken) {
    loop {
        let ended = signals.on_build_end(LOOK_EVERY);
        put_logs_away(&store, &logs).await;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = ended => {}
        }
    }
}

/// One pass over everything that has ended by now.
async fn put_logs_away(store: &Store, logs: &BuildLogs) {
    loop {
        let builds = match store.unsealed_logs(AT_ONCE).await {
            Ok(builds) => builds,
            Err(error) => return tracing::error!(%error, "failed to look for logs to put away"),
        };
        let mut progressed = false;
        for build in &builds {
            match logs.put_away(build).await {
                Ok(()) => progressed = true,
                // It stays readable in the store, and is tried again.
                Err(error) => tracing::error!(%error, %build, "failed to put a log away"),
            }
        }
        if !progressed || builds.len() < AT_ONCE as usize {
            return;
        }
    }
}
