//! The queue: who builds what, and what becomes of a build without its worker's doing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Build, Lease, Store, StoreError, Tx, builds, logs, on, outbox};
use crate::domain::{
    build::{ErrorKind, Failure, Status},
    ids::{BuildId, WorkerId},
};

/// A claimed build.
#[derive(Debug, Clone)]
pub struct Leased {
    pub lease: Lease,
    pub build: Build,
}

/// How many attempts a build gets before it is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoisonLimit(pub i64);

/// Builds of this class follow by themselves; those that somebody asked for are of class 0.
const AUTOMATIC: i64 = 1;

/// How long automatic builds stand back. After that one at a time goes before those that people wait for, or a server that
/// is always busy would never come to them.
const STANDS_BACK: TimeDelta = TimeDelta::minutes(10);

/// The oldest build of a class that may start.
macro_rules! next {
    ($rest:literal) => {
        concat!(
            "select id, queued_at from builds where status = 'queued' and class = $2 \
             and (not_before is null or not_before <= $1)",
            $rest,
            " order by id limit 1"
        )
    };
}

pub(super) const NEXT: &str = next!("");

/// A paused worker takes nothing.
const NEXT_FOR: &str = next!(" and not exists (select 1 from workers where id = $3 and paused)");

const AUTOMATIC_RUNS: &str = "select id from builds where status = 'running' and class = 1 limit 1";

/// Touching the rows locks them on PostgreSQL: no heartbeat and no end can come in between.
pub(super) const LOCK_EXPIRED: &str = "update builds set fence = fence where status = 'running' and leased_until < $1 \
                                       returning id, attempt, cancel_requested";

const LOCK_OF_WORKER: &str = "update builds set fence = fence where status = 'running' and worker_id = $1 \
                              returning id, attempt, cancel_requested";

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
            let Some(id) = next(&mut tx, worker, now).await? else {
                return Ok(None);
            };
            let claimed: Option<(i64, i64)> = on!(tx.handle(), c => {
                sqlx::query_as(
                    "update builds set status = 'running', phase = 'fetch', worker_id = $2, attempt = attempt + 1, \
                     fence = fence + 1, leased_until = $3, not_before = null, error_kind = null, error_message = null, \
                     steps = '[]', started_at = $4 where id = $1 and status = 'queued' returning attempt, fence",
                )
                .bind(&id)
                .bind(worker.as_str())
                .bind(now + lease_for)
                .bind(now)
                .fetch_optional(c)
                .await
            })?;
            // Another worker on the same PostgreSQL took it between the two statements: look again. Whoever loses has
            // waited for one that won, so the workers together get on however many they are.
            let Some((attempt, fence)) = claimed else { continue };
            let row = on!(tx.handle(), c => {
                sqlx::query_as::<_, builds::Row>(builds::select_builds!("where b.id = $1")).bind(&id).fetch_one(c).await
            })?;
            tx.commit().await?;
            return Ok(Some(Leased {
                lease: Lease::new(id.into(), attempt, fence),
                build: Build::try_from(row)?,
            }));
        }
    }

    /// Whether a build waits that could be claimed now.
    pub async fn has_claimable(&self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut reader = self.reader().await?;
        for class in [0, AUTOMATIC] {
            let next: Option<(String, DateTime<Utc>)> =
                on!(reader.handle(), c => sqlx::query_as(NEXT).bind(now).bind(class).fetch_optional(c).await)?;
            if next.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives builds whose lease ran out back to the queue; those that used up their attempts are set aside as failed.
    /// Answers how many of each.
    pub async fn reap(&self, now: DateTime<Utc>, limit: PoisonLimit) -> Result<(usize, usize), StoreError> {
        let mut tx = self.begin().await?;
        let dead = on!(tx.handle(), c => sqlx::query_as(LOCK_EXPIRED).bind(now).fetch_all(c).await)?;
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
        let dead = on!(tx.handle(), c => sqlx::query_as(LOCK_OF_WORKER).bind(worker.as_str()).fetch_all(c).await)?;
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
            logs::append_line(&mut tx, id.as_str(), &format!("canceled by {by} before it started\n")).await?;
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

/// Which build a worker takes next: the oldest that somebody asked for, else the oldest that follows by itself.
async fn next(tx: &mut Tx, worker: &WorkerId, now: DateTime<Utc>) -> Result<Option<String>, StoreError> {
    let asked_for = next_of(tx, worker, now, 0).await?;
    let automatic = next_of(tx, worker, now, AUTOMATIC).await?;
    let (Some((asked_for, _)), Some((automatic, queued_at))) = (&asked_for, &automatic) else {
        return Ok(asked_for.or(automatic).map(|(id, _)| id));
    };
    if *queued_at > now - STANDS_BACK {
        return Ok(Some(asked_for.clone()));
    }
    let one_runs: Option<String> = on!(tx.handle(), c => sqlx::query_scalar(AUTOMATIC_RUNS).fetch_optional(c).await)?;
    Ok(Some(if one_runs.is_some() { asked_for } else { automatic }.clone()))
}

async fn next_of(
    tx: &mut Tx,
    worker: &WorkerId,
    now: DateTime<Utc>,
    class: i64,
) -> Result<Option<(String, DateTime<Utc>)>, StoreError> {
    Ok(on!(tx.handle(), c => {
        sqlx::query_as(NEXT_FOR).bind(now).bind(class).bind(worker.as_str()).fetch_optional(c).await
    })?)
}

/// Ends the attempts of workers that are gone. The rows are locked by the caller. The tags that they were pushing need
/// no release: a claim of an attempt that does not run counts for nothing.
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
        on!(tx.handle(), c => {
            sqlx::query(
                "update builds set status = $2, phase = null, worker_id = null, leased_until = null, \
                 started_at = case when $2 = 'queued' then null else started_at end, \
                 finished_at = $3, error_kind = $4, error_message = $5 where id = $1",
            )
            .bind(&id)
            .bind(status.as_str())
            .bind((status != Status::Queued).then_some(now))
            .bind(failure.map(|f| f.kind.as_str()))
            .bind(failure.map(|f| f.message.as_str()))
            .execute(c)
            .await
            .map(drop)
        })?;
        logs::append_line(tx, &id, &line).await?;
        outbox::tell_of_end(tx, &BuildId::from(id), status, now).await?;
        match status {
            Status::Queued => requeued += 1,
            _ => ended += 1,
        }
    }
    Ok((requeued, ended))
}
