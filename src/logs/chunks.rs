//! What is asked of the place where the logs of running builds are kept, and of whatever a log can be read from.
//!
//! A log is one sequence of bytes that only grows. Everybody names a place in it by its offset from the beginning, in
//! bytes. A further attempt of the same build continues where the last one stopped.

use std::future::Future;

use crate::domain::ids::BuildId;

/// Where chunks of running builds are kept.
pub trait ChunkStore: Send + Sync + 'static {
    /// Proof that the caller owns the build in its present attempt.
    type Lease: Send + Sync + 'static;

    /// Makes `bytes` durable as the part of the log that begins at `offset`.
    ///
    /// After a failure that leaves open whether they were stored, the very same bytes come again with the same offset:
    /// that is a success too, and stores them once.
    fn append(
        &self,
        lease: &Self::Lease,
        offset: u64,
        bytes: &[u8],
    ) -> impl Future<Output = Result<(), AppendError>> + Send;
}

/// Why a chunk was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Nothing more may be written under this lease, ever.
    #[error("another attempt owns the build")]
    Fenced,
    /// May pass; to be tried again.
    #[error("the log store is unavailable: {0}")]
    Unavailable(String),
}

/// Something logs can be read from by offset.
pub trait ChunkReader: Send + Sync + 'static {
    /// Up to `max` bytes from `offset` on; fewer, but at least one, where there are any. None beyond the end.
    fn read(
        &self,
        build: &BuildId,
        offset: u64,
        max: usize,
    ) -> impl Future<Output = Result<ReadPiece, ReadError>> + Send;

    /// How far the log has come. Asked often: it must be cheap.
    fn extent(&self, build: &BuildId) -> impl Future<Output = Result<Extent, ReadError>> + Send;
}

/// What a read gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPiece {
    pub bytes: Vec<u8>,
    /// Nothing will ever be appended. It has to hold at the time of which `bytes` is a true picture: bytes that were
    /// stored just before the end may not be missed.
    pub ended: bool,
}

/// How far a log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// In bytes.
    pub size: u64,
    /// Nothing will ever be appended.
    pub ended: bool,
}

/// Why a log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is nothing to read, now or later.
    #[error("there is no such log")]
    NotFound,
    /// May pass.
    #[error("the log cannot be read at the moment: {0}")]
    Unavailable(String),
    /// What is stored is not what was written.
    #[error("the stored log is damaged: {0}")]
    Corrupt(String),
}
