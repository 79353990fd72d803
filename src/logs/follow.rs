//! Follows a log from any place in it until it ends.
//!
//! Every follower reads by offset at its own pace, so a slow one costs nobody anything. It ends when the reader says that
//! the log has ended and everything was delivered, wherever the build runs.

use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::chunks::{ChunkReader, ReadError};
use super::hub::{LogHub, Subscription};
use crate::domain::ids::BuildId;

/// The largest piece that is delivered, in bytes.
const MAX_PIECE: usize = 64 * 1024;

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPiece {
    /// Where it begins, in bytes. The next piece begins at `offset + bytes.len()`: that is where to resume.
    pub offset: u64,
    /// Never empty.
    pub bytes: Vec<u8>,
}

/// Delivers the log of `build` from `offset` on, as it grows, until it ends. After an error nothing follows; following
/// again from where it stopped loses nothing. To be called on a Tokio runtime.
pub fn follow<R: ChunkReader>(
    reader: Arc<R>,
    hub: &Arc<LogHub>,
    build: BuildId,
    offset: u64,
) -> impl Stream<Item = Result<LogPiece, ReadError>> + Send + use<R> {
    let subscription = hub.subscribe(&build, &reader);
    try_unfold(
        Follower {
            reader,
            subscription,
            build,
            offset,
        },
        |mut follower| async move { Ok(follower.next().await?.map(|piece| (piece, follower))) },
    )
}

struct Follower<R> {
    reader: Arc<R>,
    subscription: Subscription,
    build: BuildId,
    offset: u64,
}

impl<R: ChunkReader> Follower<R> {
    async fn next(&mut self) -> Result<Option<LogPiece>, ReadError> {
        loop {
            self.subscription.mark_seen();
            let piece = self.reader.read(&self.build, self.offset, MAX_PIECE).await?;
            if !piece.bytes.is_empty() {
                let offset = self.offset;
                self.offset += piece.bytes.len() as u64;
                return Ok(Some(LogPiece {
                    offset,
                    bytes: piece.bytes,
                }));
            }
            if piece.ended {
                return Ok(None);
            }
            self.subscription.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Duration;

    use futures_util::{StreamExt as _, TryStreamExt as _};
    use tokio::time::{Instant, sleep};
    use tokio_util::sync::CancellationToken;

    use super::super::mask::Masker;
    use super::super::testing::MemoryStore;
    use super::super::writer::{LogTarget, LogWriter};
    use super::*;

    /// Everything from `offset` to the end, in one piece.
    async fn collect(
        reader: Arc<MemoryStore>,
        hub: Arc<LogHub>,
        build: BuildId,
        offset: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let pieces: Vec<LogPiece> = follow(reader, &hub, build, offset).try_collect().await?;
        let mut all = Vec::new();
        for piece in pieces {
            assert_eq!(piece.offset, offset + all.len() as u64);
            assert!(!piece.bytes.is_empty() && piece.bytes.len() <= MAX_PIECE);
            all.extend(piece.bytes);
        }
        Ok(all)
    }

    fn writer(store: &Arc<MemoryStore>, hub: &Arc<LogHub>, build: &BuildId) -> LogWriter {
        let target = LogTarget {
            store: Arc::clone(store),
            lease: Arc::new(build.clone()),
            build: build.clone(),
            offset: 0,
            max_bytes: u64::MAX / 2,
        };
        let masker = Arc::new(Masker::new([]).unwrap());
        LogWriter::start(target, masker, Arc::clone(hub), CancellationToken::new())
    }

    #[tokio::test(start_paused = true)]
    async fn fifty_followers_who_join_at_any_time_get_the_same_bytes() {
        let (store, hub, build) = (MemoryStore::new(), Arc::<LogHub>::default(), BuildId::new());
        store.put(&build, b"");
        let writer = writer(&store, &hub, &build);
        let mut followers = Vec::new();
        for number in 0..5000_u32 {
            writer.write(format!("line {number} {}\n", "x".repeat(number as usize % 120)).as_bytes());
            if number.is_multiple_of(100) {
                let (store, hub, build) = (Arc::clone(&store), Arc::clone(&hub), build.clone());
                followers.push(tokio::spawn(collect(store, hub, build, 0)));
            }
            sleep(Duration::from_millis(u64::from(number % 3))).await;
        }
        writer.finish().await.unwrap();
        store.end(&build);
        hub.changed(&build);
        let log = store.log(&build);
        assert_eq!(log.iter().filter(|byte| **byte == b'\n').count(), 5000);
        assert_eq!(followers.len(), 50);
        for follower in followers {
            assert!(follower.await.unwrap().unwrap() == log);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn viewers_see_what_was_written_within_a_tenth_of_a_second() {
        let (store, hub, build) = (MemoryStore::new(), Arc::<LogHub>::default(), BuildId::new());
        store.put(&build, b"");
        let writer = writer(&store, &hub, &build);
        let mut log = Box::pin(follow(store, &hub, build, 0));
        for _ in 0..20 {
            let begun = Instant::now();
            writer.write(b"tick\n");
            assert_eq!(log.next().await.unwrap().unwrap().bytes, b"tick\n");
            assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_resumes_from_any_offset() {
        let (store, hub, build) = (MemoryStore::new(), Arc::<LogHub>::default(), BuildId::new());
        let whole: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        store.put(&build, &whole);
        store.end(&build);
        for offset in [0, 1, 65_535, 65_536, 131_073, 199_999, 200_000, 300_000] {
            let got = collect(Arc::clone(&store), Arc::clone(&hub), build.clone(), offset)
                .await
                .unwrap();
            assert!(
                got == whole[whole.len().min(usize::try_from(offset).unwrap())..],
                "{offset}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_of_a_build_elsewhere_is_followed_until_it_ends() {
        let (store, hub, build) = (MemoryStore::new(), Arc::<LogHub>::default(), BuildId::new());
        store.put(&build, b"begun\n");
        let mut log = Box::pin(follow(Arc::clone(&store), &hub, build.clone(), 0));
        assert_eq!(log.next().await.unwrap().unwrap().bytes, b"begun\n");
        for _ in 0..5 {
            let begun = Instant::now();
            store.put(&build, b"more\n");
            assert_eq!(log.next().await.unwrap().unwrap().bytes, b"more\n");
            assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
        }
        store.put(&build, b"last\n");
        store.end(&build);
        assert_eq!(log.next().await.unwrap().unwrap().bytes, b"last\n");
        assert_eq!(log.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_who_does_not_read_holds_up_nobody() {
        let (store, hub, build) = (MemoryStore::new(), Arc::<LogHub>::default(), BuildId::new());
        store.put(&build, b"");
        let writer = writer(&store, &hub, &build);
        let slow = follow(Arc::clone(&store), &hub, build.clone(), 0);
        let quick = tokio::spawn(collect(Arc::clone(&store), Arc::clone(&hub), build.clone(), 0));
        for _ in 0..1000 {
            writer.write(&[&[b'x'; 9999][..], b"\n"].concat());
            tokio::task::yield_now().await;
        }
        writer.finish().await.unwrap();
        store.end(&build);
        hub.changed(&build);
        assert_eq!(quick.await.unwrap().unwrap().len(), 10_000_000);
        let late: Vec<LogPiece> = slow.try_collect().await.unwrap();
        assert_eq!(late.iter().map(|piece| piece.bytes.len()).sum::<usize>(), 10_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_told_once_and_following_again_loses_nothing() {
        let (store, hub, build) = (MemoryStore::new(), Arc::<LogHub>::default(), BuildId::new());
        store.put(&build, b"before ");
        let mut log = Box::pin(follow(Arc::clone(&store), &hub, build.clone(), 0));
        let piece = log.next().await.unwrap().unwrap();
        store.reads_fail.store(true, SeqCst);
        assert!(matches!(log.next().await, Some(Err(ReadError::Unavailable(_)))));
        assert_eq!(log.next().await, None);
        store.reads_fail.store(false, SeqCst);
        store.put(&build, b"after");
        store.end(&build);
        let resumed = collect(store, hub, build, piece.offset + piece.bytes.len() as u64)
            .await
            .unwrap();
        assert_eq!(resumed, b"after");
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_does_not_exist_is_an_error() {
        let result = collect(MemoryStore::new(), Arc::default(), BuildId::new(), 0).await;
        assert_eq!(result, Err(ReadError::NotFound));
    }
}
