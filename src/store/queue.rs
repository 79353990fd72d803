//! The queue: who builds what, for how long, and what became of it.
//!
//! Leases, not locks: a build belongs to a worker for a bounded time, a heartbeat renews it, each attempt has a number,
//! and every write of the worker carries it, so that a stale one changes nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Build, Store, StoreError, Tx, builds, on, to_json};
use crate::domain::{
    build::{BaseImage, Ending, ErrorKind, Failure, Phase, Status, Step},
    ids::{BuildId, WorkerId},
};

/// The right to work on one attempt of a build. Only [`Store::claim`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    build: BuildId,
    worker: WorkerId,
    attempt: i64,
}

impl Lease {
    pub fn build(&self) -> &BuildId {
        &self.build
    }

    /// 1 for the first attempt.
    pub fn attempt(&self) -> i64 {
        self.attempt
    }

    pub(super) fn worker(&self) -> &WorkerId {
        &self.worker
    }
}

/// A claimed build.
#[derive(Debug, Clone)]
pub struct Leased {
    pub lease: Lease,
    pub build: Build,
}

/// A write of a worker changed nothing: the build belongs to another attempt, has ended or is gone.
#[derive(Debug, thiserror::Error)]
pub enum LeaseLost {
    #[error("the lease on this build was lost")]
    Lost,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a running build goes back to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requeue {
    /// Shown while it waits.
    pub why: String,
    /// `None`: at once.
    pub not_before: Option<DateTime<Utc>>,
    /// Whether this attempt counts towards the limit: a fault does, a shutdown does not.
    pub counts: bool,
}

/// How many attempts a build gets before it is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoisonLimit(pub i64);

impl Store {
    /// Takes the oldest queued build that may start, if there is one.
    pub async fn claim(
        &self,
        worker: &WorkerId,
        now: DateTime<Utc>,
        lease_for: Duration,
    ) -> Result<Option<Leased>, StoreError> {
        loop {
            let mut tx = self.begin().await?;
            let next: Option<String> = on!(tx.handle(), c => {
                sqlx::query_scalar(
                    "select id from builds where status = 'queued' and (not_before is null or not_before <= $1) \
                     order by id limit 1",
                )
                .bind(now)
                .fetch_optional(c)
                .await
            })?;
            let Some(id) = next else { return Ok(None) };
            let attempt: Option<i64> = on!(tx.handle(), c => {
                sqlx::query_scalar(
                    "update builds set status = 'running', phase = 'fetch', worker_id = $2, attempt = attempt + 1, \
                     leased_until = $3, not_before = null, error_kind = null, error_message = null, steps = '[]', \
                     started_at = $4 where id = $1 and status = 'queued' returning attempt",
                )
                .bind(&id)
                .bind(worker.as_str())
                .bind(now + lease_for)
                .bind(now)
                .fetch_optional(c)
                .await
            })?;
            // Another worker on the same PostgreSQL took it between the two statements: look again.
            let Some(attempt) = attempt else { continue };
            let row = on!(tx.handle(), c => {
                sqlx::query_as::<_, builds::Row>(builds::select_builds!("where b.id = $1")).bind(&id).fetch_one(c).await
            })?;
            tx.commit().await?;
            let lease = Lease {
                build: id.into(),
                worker: worker.clone(),
                attempt,
            };
            return Ok(Some(Leased {
                lease,
                build: Build::try_from(row)?,
            }));
        }
    }

    /// Whether a build waits that could be claimed now.
    pub async fn has_claimable(&self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        let found: Option<i64> = on!(reader.handle(), c => {
            sqlx::query_scalar(
                "select cast(1 as bigint) from builds where status = 'queued' and (not_before is null or not_before <= $1) limit 1",
            )
            .bind(now)
            .fetch_optional(c)
            .await
        })?;
        Ok(found.is_some())
    }

    /// Renews a lease.
    pub async fn heartbeat(&self, lease: &Lease, until: DateTime<Utc>) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        let renewed = on!(tx.handle(), c => {
            sqlx::query(
                "update builds set leased_until = $4 \
                 where id = $1 and worker_id = $2 and attempt = $3 and status = 'running'",
            )
            .bind(lease.build.as_str())
            .bind(lease.worker.as_str())
            .bind(lease.attempt)
            .bind(until)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })
        .map_err(StoreError::from)?;
        held(renewed)?;
        Ok(tx.commit().await?)
    }

    /// Whether somebody asked for this build to be canceled; also tells a lost lease.
    pub async fn cancel_requested(&self, lease: &Lease) -> Result<bool, LeaseLost> {
        let mut reader = self.reader().await?;
        let requested: Option<bool> = on!(reader.handle(), c => {
            sqlx::query_scalar(
                "select cancel_requested from builds \
                 where id = $1 and worker_id = $2 and attempt = $3 and status = 'running'",
            )
            .bind(lease.build.as_str())
            .bind(lease.worker.as_str())
            .bind(lease.attempt)
            .fetch_optional(c)
            .await
        })
        .map_err(StoreError::from)?;
        requested.ok_or(LeaseLost::Lost)
    }

    pub async fn set_phase(&self, lease: &Lease, phase: Phase) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        let changed = on!(tx.handle(), c => {
            sqlx::query(
                "update builds set phase = $4 where id = $1 and worker_id = $2 and attempt = $3 and status = 'running'",
            )
            .bind(lease.build.as_str())
            .bind(lease.worker.as_str())
            .bind(lease.attempt)
            .bind(phase.as_str())
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })
        .map_err(StoreError::from)?;
        held(changed)?;
        Ok(tx.commit().await?)
    }

    /// Records which commit the checkout really has.
    pub async fn set_commit(&self, lease: &Lease, commit: &str, message: &str) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        let changed = on!(tx.handle(), c => {
            sqlx::query(
                "update builds set commit_sha = $4, commit_message = $5 \
                 where id = $1 and worker_id = $2 and attempt = $3 and status = 'running'",
            )
            .bind(lease.build.as_str())
            .bind(lease.worker.as_str())
            .bind(lease.attempt)
            .bind(commit)
            .bind(message)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })
        .map_err(StoreError::from)?;
        held(changed)?;
        Ok(tx.commit().await?)
    }

    pub async fn set_steps(&self, lease: &Lease, steps: &[Step]) -> Result<(), LeaseLost> {
        let steps = to_json(&steps)?;
        let mut tx = self.begin().await?;
        let changed = on!(tx.handle(), c => {
            sqlx::query(
                "update builds set steps = $4 where id = $1 and worker_id = $2 and attempt = $3 and status = 'running'",
            )
            .bind(lease.build.as_str())
            .bind(lease.worker.as_str())
            .bind(lease.attempt)
            .bind(&steps)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })
        .map_err(StoreError::from)?;
        held(changed)?;
        Ok(tx.commit().await?)
    }

    /// Ends a build, and lets go of the tags it was pushing.
    pub async fn finish(
        &self,
        lease: &Lease,
        ending: &Ending,
        base_images: &[BaseImage],
        now: DateTime<Utc>,
    ) -> Result<(), LeaseLost> {
        let (digest, failure, by) = match ending {
            Ending::Succeeded { digest } => (digest.as_deref(), None, None),
            Ending::Failed(failure) => (None, Some(failure), None),
            Ending::Superseded { by } => (None, None, Some(by.as_str())),
            Ending::Canceled => (None, None, None),
        };
        let base_images = to_json(&base_images)?;
        let mut tx = self.begin().await?;
        let changed = on!(tx.handle(), c => {
            sqlx::query(
                "update builds set status = $4, phase = null, leased_until = null, finished_at = $5, digest = $6, \
                 base_images = $7, error_kind = $8, error_message = $9, superseded_by = $10 \
                 where id = $1 and worker_id = $2 and attempt = $3 and status = 'running'",
            )
            .bind(lease.build.as_str())
            .bind(lease.worker.as_str())
            .bind(lease.attempt)
            .bind(ending.status().as_str())
            .bind(now)
            .bind(digest)
            .bind(&base_images)
            .bind(failure.map(|f| f.kind.as_str()))
            .bind(failure.map(|f| f.message.as_str()))
            .bind(by)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })
        .map_err(StoreError::from)?;
        held(changed)?;
        super::tags::release(&mut tx, lease).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a running build back to the queue, at its old place.
    pub async fn requeue(&self, lease: &Lease, requeue: &Requeue) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        let changed = on!(tx.handle(), c => {
            sqlx::query(
                "update builds set status = 'queued', phase = null, worker_id = null, leased_until = null, started_at = null, \
                 not_before = $4, error_kind = 'engine', error_message = $5, \
                 attempt = case when $6 then attempt else attempt - 1 end \
                 where id = $1 and worker_id = $2 and attempt = $3 and status = 'running'",
            )
            .bind(lease.build.as_str())
            .bind(lease.worker.as_str())
            .bind(lease.attempt)
            .bind(requeue.not_before)
            .bind(&requeue.why)
            .bind(requeue.counts)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })
        .map_err(StoreError::from)?;
        held(changed)?;
        super::tags::release(&mut tx, lease).await?;
        Ok(tx.commit().await?)
    }

    /// Gives builds whose lease ran out back to the queue; those that used up their attempts are set aside as failed.
    /// Answers how many of each.
    pub async fn reap(&self, now: DateTime<Utc>, limit: PoisonLimit) -> Result<(usize, usize), StoreError> {
        let mut tx = self.begin().await?;
        let dead: Vec<(String, i64, bool)> = on!(tx.handle(), c => {
            sqlx::query_as(
                "select id, attempt, cancel_requested from builds where status = 'running' and leased_until < $1 order by id",
            )
            .bind(now)
            .fetch_all(c)
            .await
        })?;
        let counts = abandon(&mut tx, dead, now, limit).await?;
        tx.commit().await?;
        Ok(counts)
    }

    /// The same at once for all builds of a worker that is known to be dead: an earlier process on the same data
    /// directory, whose lock this process now holds.
    pub async fn reap_worker(
        &self,
        worker: &WorkerId,
        now: DateTime<Utc>,
        limit: PoisonLimit,
    ) -> Result<(usize, usize), StoreError> {
        let mut tx = self.begin().await?;
        let dead: Vec<(String, i64, bool)> = on!(tx.handle(), c => {
            sqlx::query_as(
                "select id, attempt, cancel_requested from builds where status = 'running' and worker_id = $1 order by id",
            )
            .bind(worker.as_str())
            .fetch_all(c)
            .await
        })?;
        let counts = abandon(&mut tx, dead, now, limit).await?;
        tx.commit().await?;
        Ok(counts)
    }

    /// Asks for a build to be canceled: a queued one ends at once, a running one as soon as its worker sees it.
    ///
    /// Answers the state after the request, `None` if there is no such build. A build that has ended stays as it is.
    pub async fn request_cancel(
        &self,
        id: &BuildId,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Status>, StoreError> {
        let mut tx = self.begin().await?;
        let ended: Option<String> = on!(tx.handle(), c => {
            sqlx::query_scalar(
                "update builds set status = 'canceled', finished_at = $2, not_before = null, error_kind = null, \
                 error_message = null where id = $1 and status = 'queued' returning id",
            )
            .bind(id.as_str())
            .bind(now)
            .fetch_optional(c)
            .await
        })?;
        if ended.is_some() {
            super::logs::append_line(&mut tx, id.as_str(), &format!("canceled by {by} before it started\n")).await?;
            tx.commit().await?;
            return Ok(Some(Status::Canceled));
        }
        let status: Option<String> = on!(tx.handle(), c => {
            sqlx::query_scalar(
                "update builds set cancel_requested = (cancel_requested or status = 'running') where id = $1 returning status",
            )
            .bind(id.as_str())
            .fetch_optional(c)
            .await
        })?;
        tx.commit().await?;
        status
            .map(|status| super::known("status", &status, Status::parse))
            .transpose()
    }
}

fn held(rows: u64) -> Result<(), LeaseLost> {
    if rows == 1 { Ok(()) } else { Err(LeaseLost::Lost) }
}

/// Ends the attempts of workers that are gone.
async fn abandon(
    tx: &mut Tx,
    dead: Vec<(String, i64, bool)>,
    now: DateTime<Utc>,
    limit: PoisonLimit,
) -> Result<(usize, usize), StoreError> {
    let (mut requeued, mut ended) = (0, 0);
    for (id, attempt, cancel_requested) in dead {
        let set_aside = Failure::new(
            ErrorKind::Internal,
            format!("set aside after {attempt} attempts: each time the worker died while it built this"),
        );
        let (status, failure, line) = match (cancel_requested, attempt >= limit.0) {
            (true, _) => (Status::Canceled, None, "canceled; the worker had died\n".to_owned()),
            (false, true) => (Status::Failed, Some(&set_aside), format!("{}\n", set_aside.message)),
            (false, false) => (
                Status::Queued,
                None,
                format!("the worker died during attempt {attempt}; back to the queue\n"),
            ),
        };
        // The log is written first: it takes lines of builds that have not ended.
        super::logs::append_line(tx, &id, &line).await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "update builds set status = $2, phase = null, worker_id = null, leased_until = null, \
                 started_at = case when $2 = 'queued' then null else started_at end, \
                 finished_at = $3, error_kind = $4, error_message = $5 \
                 where id = $1 and status = 'running' and attempt = $6",
            )
            .bind(&id)
            .bind(status.as_str())
            .bind((status != Status::Queued).then_some(now))
            .bind(failure.map(|f| f.kind.as_str()))
            .bind(failure.map(|f| f.message.as_str()))
            .bind(attempt)
            .execute(c)
            .await
            .map(drop)
        })?;
        match status {
            Status::Queued => requeued += 1,
            _ => ended += 1,
        }
    }
    Ok((requeued, ended))
}
