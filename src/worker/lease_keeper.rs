//! Keeps a lease alive while its build runs, and watches for what ends the attempt from outside.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{LEASE, Parts, Stop, StopReason};
use crate::store::{Lease, LeaseLost};

/// A third of the lease: two heartbeats may be lost.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// How often the wish to cancel is looked for without being told: by another process it can only be found this way.
const LOOK_FOR_CANCEL_EVERY: Duration = Duration::from_millis(500);

/// Runs until the attempt stops, by itself (`done`) or by what this finds.
pub(super) async fn keep(
    parts: Parts,
    lease: Lease,
    stop: Stop,
    stop_all: CancellationToken,
    done: CancellationToken,
) {
    let deadline = Instant::now() + parts.settings.build_timeout;
    let mut renewed = Instant::now();
    loop {
        let cancel_rung = parts.signals.on_cancel_request(LOOK_FOR_CANCEL_EVERY);
        match parts.store.cancel_requested(&lease).await {
            Ok(true) => return stop.now(StopReason::Canceled),
            Ok(false) => {}
            Err(LeaseLost::Lost) => return stop.now(StopReason::LeaseLost),
            Err(LeaseLost::Store(error)) => tracing::warn!(%error, "failed to look for a cancel"),
        }
        if renewed.elapsed() >= HEARTBEAT_EVERY {
            match parts.store.heartbeat(&lease, parts.clock.now() + LEASE).await {
                Ok(()) => renewed = Instant::now(),
                Err(LeaseLost::Lost) => return stop.now(StopReason::LeaseLost),
                Err(LeaseLost::Store(error)) => tracing::warn!(%error, "failed to renew a lease"),
            }
        }
        // Without the database the lease may have been taken over by now: whoever cannot renew must not go on.
        if renewed.elapsed() >= LEASE {
            return stop.now(StopReason::LeaseLost);
        }
        tokio::select! {
            () = done.cancelled() => return,
            () = stop.token().cancelled() => return,
            () = stop_all.cancelled() => return stop.now(StopReason::Shutdown),
            () = tokio::time::sleep_until(deadline) => return stop.now(StopReason::TimedOut),
            () = cancel_rung => {}
        }
    }
}
