//! The logs of builds until they are sealed: pieces in the database, so that any process can show them and a crash
//! loses none.

use super::{
    Lease, LeaseLost, Store, StoreError, Tx,
    lease::{held, update_held},
    on,
};
use crate::domain::{build::Status, ids::BuildId};

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    pub bytes: Vec<u8>,
    /// Nothing will ever be appended.
    pub ended: bool,
}

pub(super) const UNSEALED: &str =
    "select id from builds where not log_sealed and status not in ('queued', 'running') order by id limit $1";

/// The pieces of a log that hold the bytes from `$2` to `$3`.
const CHUNKS: &str = "select position, bytes from log_chunks where build_id = $1 and position < $3 and position >= \
     (select max(position) from log_chunks where build_id = $1 and position <= $2) order by position";

impl Store {
    /// Makes `bytes` the part of a running build's log that begins at `offset`.
    ///
    /// The same bytes at the same offset once more are a success that changes nothing: a writer that did not hear of its
    /// success asks again.
    pub async fn append_log(&self, lease: &Lease, offset: u64, bytes: &[u8]) -> Result<(), LeaseLost> {
        let (start, end) = (offset as i64, offset as i64 + bytes.len() as i64);
        let mut tx = self.begin().await?;
        let size: Option<i64> = on!(tx.handle(), c => {
            sqlx::query_scalar(concat!("select log_size from builds ", held!()))
                .bind(lease.build().as_str())
                .bind(lease.fence())
                .fetch_optional(c)
                .await
        })
        .map_err(StoreError::from)?;
        let size = size.ok_or(LeaseLost::Lost)?;
        if size == end {
            return Ok(());
        }
        if size != start {
            return Err(StoreError::Corrupt(format!("a log of {size} bytes cannot go on at {start}")).into());
        }
        update_held!(tx, lease, "log_size = $3", end)?;
        insert(&mut tx, lease.build().as_str(), start, bytes).await?;
        Ok(tx.commit().await?)
    }

    /// How long an unsealed log is, in bytes, and whether it will stay so. `None`: there is no such build, or its log is
    /// sealed.
    pub async fn log_extent(&self, build: &BuildId) -> Result<Option<(u64, bool)>, StoreError> {
        let mut reader = self.reader().await?;
        let state: Option<(i64, String, bool)> = on!(reader.handle(), c => {
            sqlx::query_as("select log_size, status, log_sealed from builds where id = $1")
                .bind(build.as_str())
                .fetch_optional(c)
                .await
        })?;
        match state {
            Some((size, status, false)) => {
                let ended = super::known("status", &status, Status::parse)?.is_final();
                Ok(Some((size as u64, ended)))
            }
            _ => Ok(None),
        }
    }

    /// Up to `max` bytes of an unsealed log from `offset` on. `None`: there is no such build, or its log is sealed.
    pub async fn read_log(&self, build: &BuildId, offset: u64, max: usize) -> Result<Option<LogPiece>, StoreError> {
        let mut reader = self.reader().await?;
        // The state is read before the bytes: a build that has ended by then gets no more of them.
        let state: Option<(i64, String, bool)> = on!(reader.handle(), c => {
            sqlx::query_as("select log_size, status, log_sealed from builds where id = $1")
                .bind(build.as_str())
                .fetch_optional(c)
                .await
        })?;
        let Some((size, status, sealed)) = state else {
            return Ok(None);
        };
        if sealed {
            return Ok(None);
        }
        let ended = super::known("status", &status, Status::parse)?.is_final();
        let (size, offset) = (size as u64, offset.min(size as u64));
        let end = size.min(offset.saturating_add(max as u64));
        let chunks: Vec<(i64, Vec<u8>)> = match offset < end {
            true => on!(reader.handle(), c => {
                sqlx::query_as(CHUNKS).bind(build.as_str()).bind(offset as i64).bind(end as i64).fetch_all(c).await
            })?,
            false => Vec::new(),
        };
        // Sealed and deleted between the two reads.
        if chunks.is_empty() && offset < end {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        for (position, chunk) in chunks {
            let at = offset + bytes.len() as u64;
            let from = at
                .checked_sub(position as u64)
                .filter(|from| *from < chunk.len() as u64);
            let Some(from) = from else {
                return Err(StoreError::Corrupt(format!("the log of {build} has a gap at {at}")));
            };
            let rest = &chunk[from as usize..];
            bytes.extend_from_slice(&rest[..rest.len().min((end - at) as usize)]);
        }
        Ok(Some(LogPiece { bytes, ended }))
    }

    /// Builds that have ended and whose logs are not sealed yet, oldest first.
    pub async fn unsealed_logs(&self, limit: u32) -> Result<Vec<BuildId>, StoreError> {
        let mut reader = self.reader().await?;
        let ids: Vec<String> = on!(reader.handle(), c => {
            sqlx::query_scalar(UNSEALED).bind(i64::from(limit)).fetch_all(c).await
        })?;
        Ok(ids.into_iter().map(BuildId::from).collect())
    }

    /// Records that the log of a build that has ended is sealed elsewhere, and forgets its pieces.
    pub async fn mark_log_sealed(&self, build: &BuildId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sealed = on!(tx.handle(), c => {
            sqlx::query("update builds set log_sealed = true where id = $1 and status not in ('queued', 'running')")
                .bind(build.as_str())
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        if sealed == 1 {
            on!(tx.handle(), c => {
                sqlx::query("delete from log_chunks where build_id = $1").bind(build.as_str()).execute(c).await.map(drop)
            })?;
        }
        tx.commit().await
    }
}

/// Appends one line of the program's own to the log of a build that does not run. A running build's log belongs to its
/// worker, who alone knows where it goes on: such a log, and a sealed one, stays as it is.
pub(super) async fn append_line(tx: &mut Tx, build: &str, line: &str) -> Result<(), StoreError> {
    let size: Option<i64> = on!(tx.handle(), c => {
        sqlx::query_scalar(
            "update builds set log_size = log_size + $2 where id = $1 and status <> 'running' and not log_sealed \
             returning log_size",
        )
        .bind(build)
        .bind(line.len() as i64)
        .fetch_optional(c)
        .await
    })?;
    match size {
        Some(size) => insert(tx, build, size - line.len() as i64, line.as_bytes()).await,
        None => Ok(()),
    }
}

async fn insert(tx: &mut Tx, build: &str, position: i64, bytes: &[u8]) -> Result<(), StoreError> {
    if bytes.is_empty() {
        return Ok(());
    }
    on!(tx.handle(), c => {
        sqlx::query("insert into log_chunks (build_id, position, bytes) values ($1, $2, $3)")
            .bind(build)
            .bind(position)
            .bind(bytes)
            .execute(c)
            .await
            .map(drop)
    })?;
    Ok(())
}
