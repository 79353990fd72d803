//! Processes that build.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, on};
use crate::domain::ids::WorkerId;

/// A process that builds, as it last told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    pub id: WorkerId,
    /// The machine's name.
    pub name: String,
    /// How many builds it runs at once.
    pub concurrency: i64,
    pub started_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    concurrency: i64,
    started_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
}

impl From<Row> for Worker {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            concurrency: row.concurrency,
            started_at: row.started_at,
            last_seen_at: row.last_seen_at,
        }
    }
}

impl Store {
    /// Tells that a worker is alive.
    pub async fn worker_seen(&self, worker: &Worker) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into workers (id, name, concurrency, started_at, last_seen_at) values ($1, $2, $3, $4, $5) \
                 on conflict (id) do update set name = $2, concurrency = $3, started_at = $4, last_seen_at = $5",
            )
            .bind(worker.id.as_str())
            .bind(&worker.name)
            .bind(worker.concurrency)
            .bind(worker.started_at)
            .bind(worker.last_seen_at)
            .execute(c)
            .await
            .map(drop)
        })?;
        tx.commit().await
    }

    /// Workers that were alive at `since` or later, by name.
    pub async fn workers_since(&self, since: DateTime<Utc>) -> Result<Vec<Worker>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(
                "select id, name, concurrency, started_at, last_seen_at from workers where last_seen_at >= $1 order by name, id",
            )
            .bind(since)
            .fetch_all(c)
            .await
        })?;
        Ok(rows.into_iter().map(Worker::from).collect())
    }
}
