//! Where the logs of builds are: in the store while they grow, sealed on disk afterwards. Writers and viewers need not know.

use std::sync::Arc;

use crate::{
    domain::ids::BuildId,
    logs::{
        chunks::{AppendError, ChunkReader, ChunkStore, Extent, ReadError, ReadPiece},
        hub::LogHub,
        lines::{Found, LineExtent, LogLines, Needle, Outline, Window},
        sealed::{SealError, SealedLogs},
    },
    store::{Lease, LeaseLost, Store, StoreError},
};

/// The logs of all builds.
pub struct BuildLogs {
    store: Store,
    sealed: SealedLogs,
    hub: Arc<LogHub>,
    lines: LogLines,
}

/// Why the log of a build that has ended could not be put away.
#[derive(Debug, thiserror::Error)]
pub enum PutAwayError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BuildLogs {
    pub fn new(store: Store, sealed: SealedLogs) -> Self {
        Self {
            store,
            sealed,
            hub: Arc::new(LogHub::default()),
            lines: LogLines::default(),
        }
    }

    /// Wakes the viewers in this process.
    pub fn hub(&self) -> &Arc<LogHub> {
        &self.hub
    }

    /// How far a log has come, in lines.
    pub async fn line_extent(&self, build: &BuildId) -> Result<LineExtent, ReadError> {
        self.lines.extent(self, build).await
    }

    /// The steps of a log, and where its cause of failure is.
    pub async fn outline(&self, build: &BuildId) -> Result<Outline, ReadError> {
        self.lines.outline(self, build).await
    }

    /// Up to `count` lines from line `from` on, counted from 0; see [`LogLines::window`].
    pub async fn window(&self, build: &BuildId, from: u64, count: u64) -> Result<Window, ReadError> {
        self.lines.window(self, build, from, count).await
    }

    /// The lines from line `from` on that hold a text, as far as one answer goes.
    pub async fn search(&self, build: &BuildId, needle: &Needle, from: u64) -> Result<Found, ReadError> {
        self.lines.search(self, build, needle, from).await
    }

    /// Seals the log of a build that has ended, and forgets the pieces in the store. A crash in between leaves both,
    /// and the next attempt seals the same bytes again.
    pub async fn put_away(&self, build: &BuildId) -> Result<(), PutAwayError> {
        self.sealed.seal(build, self).await?;
        self.store.mark_log_sealed(build).await?;
        Ok(())
    }

    /// Forgets a sealed log whose build was deleted.
    pub async fn remove(&self, build: &BuildId) {
        if let Err(error) = self.sealed.remove(build).await {
            tracing::warn!(%error, %build, "failed to remove a sealed log");
        }
    }
}

impl ChunkStore for BuildLogs {
    type Lease = Lease;

    async fn append(&self, lease: &Lease, offset: u64, bytes: &[u8]) -> Result<(), AppendError> {
        self.store
            .append_log(lease, offset, bytes)
            .await
            .map_err(|error| match error {
                LeaseLost::Lost => AppendError::Fenced,
                LeaseLost::Store(error) => AppendError::Unavailable(error.to_string()),
            })
    }
}

impl ChunkReader for BuildLogs {
    async fn read(&self, build: &BuildId, offset: u64, max: usize) -> Result<ReadPiece, ReadError> {
        match self.store.read_log(build, offset, max).await.map_err(unreadable)? {
            Some(piece) => Ok(ReadPiece {
                bytes: piece.bytes,
                ended: piece.ended,
            }),
            None => self.sealed.read(build, offset, max).await,
        }
    }

    async fn extent(&self, build: &BuildId) -> Result<Extent, ReadError> {
        match self.store.log_extent(build).await.map_err(unreadable)? {
            Some((size, ended)) => Ok(Extent { size, ended }),
            None => self.sealed.extent(build).await,
        }
    }
}

fn unreadable(error: StoreError) -> ReadError {
    match error {
        StoreError::Corrupt(what) => ReadError::Corrupt(what),
        other => ReadError::Unavailable(other.to_string()),
    }
}
