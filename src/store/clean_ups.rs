//! Clean-ups that administrators asked for: each is one worker's, which tells what came of it.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, known, on};
use crate::domain::{
    disk::CleanUp,
    ids::{CleanUpId, WorkerId},
};

/// Clean-ups that are remembered for one worker.
const REMEMBERED: i64 = 50;

/// A clean-up, waiting, running or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedCleanUp {
    pub id: CleanUpId,
    pub worker: WorkerId,
    pub kind: CleanUp,
    /// A user's name.
    pub requested_by: String,
    pub requested_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// What came of it; empty until it is finished.
    pub result: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    worker_id: String,
    kind: String,
    requested_by: String,
    requested_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    result: String,
}

impl TryFrom<Row> for RequestedCleanUp {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            worker: row.worker_id.into(),
            kind: known("clean-up", &row.kind, CleanUp::parse)?,
            requested_by: row.requested_by,
            requested_at: row.requested_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            result: row.result,
        })
    }
}

impl Store {
    /// Asks a worker for a clean-up; `false` if the same one waits already.
    pub async fn request_clean_up(
        &self,
        worker: &WorkerId,
        kind: CleanUp,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let added = on!(tx.handle(), c => {
            sqlx::query(
                "insert into clean_ups (id, worker_id, kind, requested_by, requested_at, result) \
                 select $1, $2, $3, $4, $5, '' where not exists \
                 (select 1 from clean_ups where worker_id = $2 and kind = $3 and finished_at is null)",
            )
            .bind(CleanUpId::new().as_str())
            .bind(worker.as_str())
            .bind(kind.as_str())
            .bind(by)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        on!(tx.handle(), c => {
            sqlx::query(
                "delete from clean_ups where worker_id = $1 and finished_at is not null and id in \
                 (select id from clean_ups where worker_id = $1 order by id desc limit 1000 offset $2)",
            )
            .bind(worker.as_str())
            .bind(REMEMBERED)
            .execute(c)
            .await
            .map(drop)
        })?;
        tx.commit().await?;
        Ok(added == 1)
    }

    /// The oldest clean-up that waits for a worker, which begins it now. One that a process before it began is begun again.
    pub async fn begin_clean_up(
        &self,
        worker: &WorkerId,
        now: DateTime<Utc>,
    ) -> Result<Option<RequestedCleanUp>, StoreError> {
        let mut tx = self.begin().await?;
        let row = on!(tx.handle(), c => {
            sqlx::query_as::<_, Row>(
                "update clean_ups set started_at = $2 where id = \
                 (select min(id) from clean_ups where worker_id = $1 and finished_at is null) \
                 returning id, worker_id, kind, requested_by, requested_at, started_at, finished_at, result",
            )
            .bind(worker.as_str())
            .bind(now)
            .fetch_optional(c)
            .await
        })?;
        tx.commit().await?;
        row.map(RequestedCleanUp::try_from).transpose()
    }

    /// A clean-up is over, be it well or not.
    pub async fn finish_clean_up(&self, id: &CleanUpId, result: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update clean_ups set finished_at = $2, result = $3 where id = $1")
                .bind(id.as_str())
                .bind(now)
                .bind(result)
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }

    /// The newest clean-ups of all workers.
    pub async fn clean_ups(&self, limit: u32) -> Result<Vec<RequestedCleanUp>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(
                "select id, worker_id, kind, requested_by, requested_at, started_at, finished_at, result \
                 from clean_ups order by id desc limit $1",
            )
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(RequestedCleanUp::try_from).collect()
    }
}
