//! Processes that build.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, from_json, on, to_json};
use crate::domain::{disk::DiskUse, ids::WorkerId};

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
    /// It takes nothing new.
    pub paused: bool,
    /// What it last found there; `None`: it has not looked yet.
    pub disk: Option<DiskUse>,
    /// The platform that its engine builds for by itself, such as `linux/amd64`; empty: it has not said.
    pub platform: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    concurrency: i64,
    started_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    paused: bool,
    disk: String,
    platform: String,
}

impl TryFrom<Row> for Worker {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            name: row.name,
            concurrency: row.concurrency,
            started_at: row.started_at,
            last_seen_at: row.last_seen_at,
            paused: row.paused,
            disk: match row.disk.as_str() {
                "" => None,
                disk => Some(from_json("disk", disk)?),
            },
            platform: row.platform,
        })
    }
}

impl Store {
    /// Tells that a worker is alive. Whether it is paused, and what is on its disk, stays as it was, and so
    /// does its platform while it does not say it.
    pub async fn worker_seen(&self, worker: &Worker) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into workers (id, name, concurrency, started_at, last_seen_at, platform) \
                 values ($1, $2, $3, $4, $5, $6) on conflict (id) do update set name = $2, concurrency = $3, \
                 started_at = $4, last_seen_at = $5, \
                 platform = case when $6 = '' then workers.platform else $6 end",
            )
            .bind(worker.id.as_str())
            .bind(&worker.name)
            .bind(worker.concurrency)
            .bind(worker.started_at)
            .bind(worker.last_seen_at)
            .bind(&worker.platform)
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
                "select id, name, concurrency, started_at, last_seen_at, paused, disk, platform from workers \
                 where last_seen_at >= $1 order by name, id",
            )
            .bind(since)
            .fetch_all(c)
            .await
        })?;
        rows.into_iter().map(Worker::try_from).collect()
    }

    /// Lets a worker take nothing new, or lets it go on; `false` if there is none.
    pub async fn pause_worker(&self, id: &WorkerId, paused: bool) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let changed = on!(tx.handle(), c => {
            sqlx::query("update workers set paused = $2 where id = $1")
                .bind(id.as_str())
                .bind(paused)
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(changed == 1)
    }

    /// Tells what a worker found on its disk.
    pub async fn record_disk_use(&self, id: &WorkerId, found: &DiskUse) -> Result<(), StoreError> {
        let found = to_json(found)?;
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update workers set disk = $2 where id = $1")
                .bind(id.as_str())
                .bind(&found)
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }
}
