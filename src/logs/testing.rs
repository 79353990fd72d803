//! A log store in memory, with faults that can be switched on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::chunks::{AppendError, ChunkReader, ChunkStore, Extent, ReadError, ReadPiece};
use crate::domain::ids::BuildId;

#[derive(Default)]
pub struct MemoryStore {
    logs: Mutex<HashMap<BuildId, Log>>,
    /// Appends fail.
    pub unavailable: AtomicBool,
    /// Appends are stored, and fail all the same.
    pub forgetful: AtomicBool,
    /// Appends find another attempt in charge.
    pub fenced: AtomicBool,
    /// Appends wait until this is false.
    pub stuck: watch::Sender<bool>,
    pub reads_fail: AtomicBool,
    pub reads: AtomicUsize,
    pub extents: AtomicUsize,
    /// Counts the appends that were tried.
    pub appends: watch::Sender<usize>,
}

#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    chunks: Vec<usize>,
    ended: bool,
}

impl MemoryStore {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn log(&self, build: &BuildId) -> Vec<u8> {
        self.logs
            .lock()
            .unwrap()
            .get(build)
            .map(|log| log.bytes.clone())
            .unwrap_or_default()
    }

    /// The sizes of the chunks in the order in which they were stored.
    pub fn chunks(&self, build: &BuildId) -> Vec<usize> {
        self.logs
            .lock()
            .unwrap()
            .get(build)
            .map(|log| log.chunks.clone())
            .unwrap_or_default()
    }

    /// Appends as another process would: nobody here hears of it.
    pub fn put(&self, build: &BuildId, bytes: &[u8]) {
        let mut logs = self.logs.lock().unwrap();
        let log = logs.entry(build.clone()).or_default();
        log.bytes.extend_from_slice(bytes);
        log.chunks.push(bytes.len());
    }

    pub fn end(&self, build: &BuildId) {
        self.logs.lock().unwrap().entry(build.clone()).or_default().ended = true;
    }
}

impl ChunkStore for MemoryStore {
    type Lease = BuildId;

    async fn append(&self, lease: &BuildId, offset: u64, bytes: &[u8]) -> Result<(), AppendError> {
        self.appends.send_modify(|count| *count += 1);
        let mut stuck = self.stuck.subscribe();
        stuck.wait_for(|stuck| !stuck).await.unwrap();
        if self.fenced.load(Ordering::SeqCst) {
            return Err(AppendError::Fenced);
        }
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(AppendError::Unavailable("switched off".to_owned()));
        }
        let have = self.log(lease);
        let offset = usize::try_from(offset).unwrap();
        if have.len() == offset {
            self.put(lease, bytes);
        } else {
            assert_eq!(
                have.get(offset..),
                Some(bytes),
                "only the very same chunk may come again"
            );
        }
        if self.forgetful.swap(false, Ordering::SeqCst) {
            return Err(AppendError::Unavailable("the answer was lost".to_owned()));
        }
        Ok(())
    }
}

impl ChunkReader for MemoryStore {
    async fn read(&self, build: &BuildId, offset: u64, max: usize) -> Result<ReadPiece, ReadError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(ReadError::Unavailable("switched off".to_owned()));
        }
        let logs = self.logs.lock().unwrap();
        let log = logs.get(build).ok_or(ReadError::NotFound)?;
        let from = usize::try_from(offset).unwrap().min(log.bytes.len());
        let to = log.bytes.len().min(from + max);
        Ok(ReadPiece {
            bytes: log.bytes[from..to].to_vec(),
            ended: log.ended,
        })
    }

    async fn extent(&self, build: &BuildId) -> Result<Extent, ReadError> {
        self.extents.fetch_add(1, Ordering::SeqCst);
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(ReadError::Unavailable("switched off".to_owned()));
        }
        let logs = self.logs.lock().unwrap();
        let log = logs.get(build).ok_or(ReadError::NotFound)?;
        Ok(Extent {
            size: log.bytes.len() as u64,
            ended: log.ended,
        })
    }
}
