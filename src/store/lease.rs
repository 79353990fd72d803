//! The right to work on a build, and the one condition under which a worker's write takes effect.
//!
//! Leases, not locks: a build belongs to a worker for a bounded time, and a heartbeat renews it. Each claim of a build has
//! a number that is never used again, the fence; every write of the worker names it, so that a stale one changes nothing.

use super::{StoreError, Tx};
use crate::domain::ids::BuildId;

/// The right to work on one attempt of a build. Only [`super::Store::claim`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    build: BuildId,
    attempt: i64,
    fence: i64,
}

impl Lease {
    pub(super) fn new(build: BuildId, attempt: i64, fence: i64) -> Self {
        Self { build, attempt, fence }
    }

    pub fn build(&self) -> &BuildId {
        &self.build
    }

    /// 1 for the first attempt. One that does not count is followed by another with its number.
    pub fn attempt(&self) -> i64 {
        self.attempt
    }

    pub(super) fn fence(&self) -> i64 {
        self.fence
    }
}

/// A write of a worker changed nothing: the build belongs to another attempt, has ended or is gone.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    #[error("the lease on this build was lost")]
    Lost,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The condition on `builds` that a lease still holds; `$1` and `$2` are its build and its fence.
macro_rules! held {
    () => {
        "where id = $1 and fence = $2 and status = 'running'"
    };
}
pub(super) use held;

/// Updates the build of a lease while the lease holds: `update_held!(tx, lease, "phase = $3", phase)`. The values are `$3` and
/// those that follow. `Err(LeaseLost)` if nothing was changed.
macro_rules! update_held {
    ($tx:expr, $lease:expr, $set:literal $(, $value:expr)* $(,)?) => {
        $crate::store::on!($tx.handle(), c => {
            sqlx::query(concat!("update builds set ", $set, " ", $crate::store::lease::held!()))
                .bind($lease.build().as_str())
                .bind($lease.fence())
                $(.bind($value))*
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })
        .map_err(|error| $crate::store::LeaseLost::Store(error.into()))
        .and_then($crate::store::lease::one_row)
    };
}
pub(super) use update_held;

pub(super) fn one_row(rows: u64) -> Result<(), LeaseLost> {
    if rows == 1 { Ok(()) } else { Err(LeaseLost::Lost) }
}

/// Sees to it that the lease holds until the end of the transaction.
pub(super) async fn hold(tx: &mut Tx, lease: &Lease) -> Result<(), LeaseLost> {
    update_held!(tx, lease, "fence = fence")
}
