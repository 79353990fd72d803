//! Where the logs of builds are: in the store while they grow, sealed on disk afterwards. Writers and viewers need not know.

use std::sync::Arc;

use crate::{
    domain::ids::BuildId,
    logs::{
        chunks::{AppendError, ChunkReader, ChunkStore, Extent, ReadError, ReadPiece},
        hub::LogHub,
        sealed::{SealError, SealedLogs},
    },
    store::{Lease, LeaseLost, Store, StoreError},
};

/// The logs of all builds.
pub struct BuildLogs {
    store: Store,
    sealed: SealedLogs,
    hub: Arc<LogHub>,
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
        }
    }

    /// Wakes the viewers in this process.
    pub fn hub(&self) -> &Arc<LogHub> {
        &self.hub
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
