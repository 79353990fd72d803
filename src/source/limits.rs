//! What one fetch may still use of bytes and time, and whether anybody still wants it.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{SourceConfig, SourceError};

/// Shared by everything that works for one fetch.
pub(super) struct Limits {
    cancel: CancellationToken,
    deadline: Instant,
    fetch_timeout: Duration,
    stall_timeout: Duration,
    max_bytes: u64,
    received: AtomicU64,
}

impl Limits {
    /// The clock starts now.
    pub(super) fn start(config: &SourceConfig, cancel: CancellationToken) -> Self {
        Self {
            cancel,
            deadline: Instant::now() + config.fetch_timeout,
            fetch_timeout: config.fetch_timeout,
            stall_timeout: config.stall_timeout,
            max_bytes: config.max_fetch_bytes,
            received: AtomicU64::new(0),
        }
    }

    /// For work that does not wait: fails once the fetch is canceled or out of time.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        if self.cancel.is_cancelled() {
            return Err(SourceError::Canceled);
        }
        if Instant::now() >= self.deadline {
            return Err(self.out_of_time());
        }
        Ok(())
    }

    /// Waits for `work` no longer than the fetch may take.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, SourceError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(SourceError::Canceled),
            done = work => Ok(done),
            () = tokio::time::sleep_until(self.deadline.into()) => Err(self.out_of_time()),
        }
    }

    /// Waits for the server's next word: like [`Limits::wait`], and no longer than it may say nothing.
    pub(super) async fn hear<T>(&self, word: impl Future<Output = T>) -> Result<T, SourceError> {
        self.wait(tokio::time::timeout(self.stall_timeout, word))
            .await?
            .map_err(|_| SourceError::stalled(self.stall_timeout))
    }

    /// Counts bytes that came in.
    pub(super) fn receive(&self, bytes: usize) -> Result<(), SourceError> {
        let received = self.received.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        if received > self.max_bytes {
            return Err(SourceError::TooLarge(format!(
                "the commit is larger than the {} MiB that may be fetched",
                self.max_bytes >> 20
            )));
        }
        Ok(())
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn out_of_time(&self) -> SourceError {
        SourceError::Timeout(format!(
            "the fetch took longer than {} s",
            self.fetch_timeout.as_secs_f32()
        ))
    }
}
