//! Where the logs of builds are: in the store while they grow, sealed on disk afterwards. Writers and viewers need not know.

use crate::{
    domain::ids::BuildId,
    logs::{
        SealedLogs,
        chunks::{AppendError, ChunkReader, ChunkStore, Extent, ReadError, ReadPiece},
        hub::LogHub,
    },
    store::{Lease, LeaseLost, Store, StoreError},
};

/// The logs of all builds. Cheap to clone.
#[derive(Clone)]
pub struct BuildLogs {
    store: Store,
    sealed: SealedLogs,
    hub: LogHub,
}

impl BuildLogs {
    pub fn new(store: Store, sealed: SealedLogs) -> Self {
        Self { store, sealed, hub: LogHub::default() }
    }

    /// Tells viewers in this process of what writers in this process append.
    pub fn hub(&self) -> &LogHub {
        &self.hub
    }

    pub fn sealed(&self) -> &SealedLogs {
        &self.sealed
    }
}

impl ChunkStore for BuildLogs {
    type Lease = Lease;

    async fn append(&self, lease: &Lease, offset: u64, bytes: &[u8]) -> Result<(), AppendError> {
        self.store.append_log(lease, offset, bytes).await.map_err(|error| match error {
            LeaseLost::Lost => AppendError::Fenced,
            LeaseLost::Store(error) => AppendError::Unavailable(error.to_string()),
        })
    }
}

fn unavailable(error: StoreError) -> ReadError {
    match error {
        StoreError::Corrupt(what) => ReadError::Corrupt(what),
        other => ReadError::Unavailable(other.to_string()),
    }
}
