//! The one place where time comes from.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

/// Tells the time; tests bring their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's clock, in UTC, cut to microseconds: all that PostgreSQL keeps, so that what is read equals what
    /// was written.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
        let now = || Utc::now().trunc_subsecs(6);
        Self(Arc::new(now))
    }

    pub fn from_fn(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> DateTime<Utc> {
        (self.0)()
    }
}
