//! Telling one attempt to stop, and why. The first reason counts.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why an attempt has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// A person asked for it.
    Canceled,
    /// The build took longer than it may.
    TimedOut,
    /// The build belongs to somebody else by now: nothing may be written any more.
    LeaseLost,
    /// The process shuts down: the build goes back to the queue.
    Shutdown,
}

#[derive(Clone, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    reason: Arc<OnceLock<StopReason>>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn now(&self, reason: StopReason) {
        // A reason that came second changes nothing.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    pub(super) fn reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }

    /// What everything that works for the attempt watches.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let stop = Stop::new();
        assert_eq!(stop.reason(), None);
        stop.now(StopReason::Canceled);
        stop.now(StopReason::TimedOut);
        assert_eq!(stop.reason(), Some(StopReason::Canceled));
        assert!(stop.token().is_cancelled());
    }
}
