//! Writes the log of one build: takes what the build says without ever making it wait, and has it stored from a task of
//! its own, soon enough for those who watch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::backlog::Backlog;
use super::chunks::{AppendError, ChunkStore};
use super::hub::LogHub;
use super::mask::Masker;
use crate::domain::ids::BuildId;

/// Bound on the log of one build unless configured otherwise, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How long bytes may wait for more before they are stored: viewers are to see them within 100 ms.
const GATHER: Duration = Duration::from_millis(40);
/// With this much there is nothing to wait for, in bytes.
const GATHERED: usize = 64 * 1024;
/// The largest chunk that is stored at once, in bytes.
const MAX_CHUNK: usize = 256 * 1024;
/// A store that has not answered by then counts as unavailable.
const APPEND_TIMEOUT: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the end of a log waits for an unavailable store, so that a build cannot hang on its log.
const LAST_PATIENCE: Duration = Duration::from_secs(30);

/// Where a log goes.
pub struct LogTarget<S: ChunkStore> {
    pub store: Arc<S>,
    pub lease: Arc<S::Lease>,
    pub build: BuildId,
    /// What earlier attempts have already stored, in bytes: this one continues there.
    pub offset: u64,
    /// Bound on the whole log, in bytes. A few markers and our own lines may exceed it, by 64 KiB at most.
    pub max_bytes: u64,
}

/// The log of a running build. What was written before it is dropped without [`Self::finish`] may be lost.
pub struct LogWriter {
    shared: Arc<Shared>,
    /// How storing ended, once it has.
    outcome: watch::Receiver<Option<Result<u64, AppendError>>>,
    _task: AbortOnDropHandle<()>,
}

impl LogWriter {
    /// Begins to write, on a task of the current Tokio runtime. `fenced` is canceled when it turns out that another
    /// attempt owns the build; nothing more is stored then.
    pub fn start<S: ChunkStore>(
        target: LogTarget<S>,
        masker: Arc<Masker>,
        hub: Arc<LogHub>,
        fenced: CancellationToken,
    ) -> Self {
        let backlog = Backlog::new(masker, target.max_bytes, target.offset);
        let shared = Arc::new(Shared {
            backlog: Mutex::new(backlog),
            wake: Notify::new(),
        });
        let (sender, outcome) = watch::channel(None);
        let writing = hub.writing(&target.build);
        let drain = Drain {
            shared: Arc::clone(&shared),
            target,
            hub,
            finishing: None,
        };
        let task = tokio::spawn(async move {
            let result = drain.run(&fenced).await;
            drop(writing);
            sender.send_replace(Some(result));
        });
        Self {
            shared,
            outcome,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Appends bytes as they came; they need not end at a line's end. Never blocks, never fails: what is too much is
    /// dropped and the log says so.
    pub fn write(&self, bytes: &[u8]) {
        self.shared.change(|backlog| backlog.write(bytes));
    }

    /// Appends one line of our own. It passes even where the limits stop everything else, within a small reserve.
    pub fn line(&self, text: &str) {
        self.shared.change(|backlog| backlog.own_line(text));
    }

    /// Stores what is left and gives the size of the whole log in bytes. What is written afterwards is ignored. An
    /// unavailable store is given half a minute.
    pub async fn finish(&self) -> Result<u64, AppendError> {
        self.shared.change(Backlog::close);
        self.shared.wake.notify_one();
        let mut outcome = self.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await.map(|ended| ended.clone());
        match ended {
            Ok(Some(result)) => result,
            // Only if the task of this writer has panicked.
            Ok(None) | Err(_) => Err(AppendError::Unavailable("the writer of the log has stopped".to_owned())),
        }
    }
}

/// What those who write and the one who stores have in common.
struct Shared {
    backlog: Mutex<Backlog>,
    /// There is something to store, enough to store at once, or the end.
    wake: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Backlog)) {
        let mut backlog = self.lock();
        let before = backlog.queued();
        change(&mut backlog);
        let after = backlog.queued();
        drop(backlog);
        if (before == 0 && after > 0) || (before < GATHERED && after >= GATHERED) {
            self.wake.notify_one();
        }
    }

    /// The next chunk to store; none when everything was handed out and nothing follows.
    async fn next_chunk(&self) -> Option<Vec<u8>> {
        loop {
            {
                let backlog = self.lock();
                if backlog.queued() > 0 {
                    break;
                }
                if backlog.is_closed() {
                    return None;
                }
            }
            self.wake.notified().await;
        }
        let deadline = Instant::now() + GATHER;
        while !self.is_urgent() && timeout_at(deadline, self.wake.notified()).await.is_ok() {}
        Some(self.lock().take(MAX_CHUNK))
    }

    fn is_urgent(&self) -> bool {
        let backlog = self.lock();
        backlog.queued() >= GATHERED || backlog.is_closed()
    }
}

/// Stores what was written.
struct Drain<S: ChunkStore> {
    shared: Arc<Shared>,
    target: LogTarget<S>,
    hub: Arc<LogHub>,
    /// When the store has to have answered, once the end was asked for.
    finishing: Option<Instant>,
}

impl<S: ChunkStore> Drain<S> {
    async fn run(mut self, fenced: &CancellationToken) -> Result<u64, AppendError> {
        let mut offset = self.target.offset;
        while let Some(chunk) = self.shared.next_chunk().await {
            if let Err(error) = self.store(offset, &chunk).await {
                self.shared.lock().abandon();
                if error == AppendError::Fenced {
                    fenced.cancel();
                }
                return Err(error);
            }
            offset += chunk.len() as u64;
            self.shared.lock().stored();
            self.hub.changed(&self.target.build);
        }
        Ok(offset)
    }

    /// Stores one chunk, however long the store is unavailable while the build runs: what the build says meanwhile
    /// waits in the backlog.
    async fn store(&mut self, offset: u64, chunk: &[u8]) -> Result<(), AppendError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let append = self.target.store.append(&self.target.lease, offset, chunk);
            let error = match timeout(APPEND_TIMEOUT, append).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => AppendError::Unavailable(format!("no answer within {} s", APPEND_TIMEOUT.as_secs())),
            };
            if error == AppendError::Fenced || self.patience_is_over() {
                return Err(error);
            }
            tracing::warn!(build = %self.target.build, %error, "a chunk of a log was not stored, trying again");
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn patience_is_over(&mut self) -> bool {
        if !self.shared.lock().is_closed() {
            return false;
        }
        let now = Instant::now();
        now >= *self.finishing.get_or_insert(now + LAST_PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use secrecy::SecretString;

    use super::super::backlog::{CAPACITY, RESERVE};
    use super::super::testing::MemoryStore;
    use super::*;

    struct Fixture {
        store: Arc<MemoryStore>,
        build: BuildId,
        fenced: CancellationToken,
        writer: LogWriter,
    }

    impl Fixture {
        fn new() -> Self {
            Self::continuing(MemoryStore::new(), BuildId::new(), 0)
        }

        fn continuing(store: Arc<MemoryStore>, build: BuildId, offset: u64) -> Self {
            let fenced = CancellationToken::new();
            let target = LogTarget {
                store: Arc::clone(&store),
                lease: Arc::new(build.clone()),
                build: build.clone(),
                offset,
                max_bytes: DEFAULT_MAX_BYTES,
            };
            let masker = Arc::new(Masker::new([SecretString::from("hunter2")]).unwrap());
            let writer = LogWriter::start(target, masker, Arc::default(), fenced.clone());
            Self {
                store,
                build,
                fenced,
                writer,
            }
        }

        fn log(&self) -> String {
            String::from_utf8(self.store.log(&self.build)).unwrap()
        }

        /// Waits until the store was asked `count` times.
        async fn appends(&self, count: usize) {
            self.store
                .appends
                .subscribe()
                .wait_for(|appends| *appends >= count)
                .await
                .unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_stored_within_forty_milliseconds() {
        let fixture = Fixture::new();
        let begun = Instant::now();
        fixture.writer.write(b"no line end");
        fixture.appends(1).await;
        assert!(begun.elapsed() <= Duration::from_millis(41), "{:?}", begun.elapsed());
        assert_eq!(fixture.log(), "no line end");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_within_that_time_is_one_chunk_and_much_does_not_wait() {
        let fixture = Fixture::new();
        for number in 0..100 {
            fixture.writer.write(format!("line {number}\n").as_bytes());
            tokio::task::yield_now().await;
        }
        fixture.appends(1).await;
        assert_eq!(fixture.store.chunks(&fixture.build).len(), 1);
        let begun = Instant::now();
        for _ in 0..1000 {
            fixture.writer.write(&[&[b'x'; 999][..], b"\n"].concat());
        }
        fixture.appends(2).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        fixture.writer.finish().await.unwrap();
        assert!(
            fixture
                .store
                .chunks(&fixture.build)
                .iter()
                .all(|chunk| *chunk <= MAX_CHUNK)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn finish_stores_everything_and_gives_the_size() {
        let fixture = Fixture::new();
        fixture.writer.write(b"a secret: hun");
        fixture.writer.write(b"ter2, and the beginning of one: hunt");
        let size = fixture.writer.finish().await.unwrap();
        assert_eq!(fixture.log(), "a secret: ***, and the beginning of one: hunt");
        assert_eq!(size, fixture.log().len() as u64);
        fixture.writer.write(b"too late");
        assert_eq!(
            fixture.writer.finish().await.unwrap(),
            size,
            "finishing twice is harmless"
        );
        assert_eq!(fixture.log().len() as u64, size);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_without_a_byte_is_finished_too() {
        assert_eq!(Fixture::new().writer.finish().await, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_further_attempt_continues_the_log() {
        let first = Fixture::new();
        first.writer.line("attempt 1");
        let size = first.writer.finish().await.unwrap();
        let second = Fixture::continuing(Arc::clone(&first.store), first.build.clone(), size);
        second.writer.line("attempt 2");
        second.writer.finish().await.unwrap();
        assert_eq!(second.log(), "attempt 1\n\nattempt 2\n");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unavailable_store_loses_nothing_that_fits_into_memory() {
        let fixture = Fixture::new();
        fixture.store.unavailable.store(true, SeqCst);
        fixture.writer.write(b"one\n");
        fixture.appends(8).await;
        fixture.writer.write(b"two\n");
        fixture.store.unavailable.store(false, SeqCst);
        fixture.writer.finish().await.unwrap();
        assert_eq!(fixture.log(), "one\ntwo\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunk_whose_answer_was_lost_is_sent_again_as_it_was() {
        let fixture = Fixture::new();
        fixture.store.forgetful.store(true, SeqCst);
        fixture.writer.write(b"one\n");
        fixture.appends(1).await;
        fixture.writer.write(b"two\n");
        fixture.writer.finish().await.unwrap();
        assert_eq!(fixture.log(), "one\ntwo\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answers_is_tried_again() {
        let fixture = Fixture::new();
        fixture.store.stuck.send_replace(true);
        fixture.writer.write(b"one\n");
        fixture.appends(2).await;
        fixture.store.stuck.send_replace(false);
        assert_eq!(fixture.writer.finish().await, Ok(4));
        assert_eq!(fixture.log(), "one\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_cannot_keep_up_costs_whole_lines_and_flat_memory() {
        let fixture = Fixture::new();
        fixture.store.stuck.send_replace(true);
        for number in 0..1_000_000 {
            fixture.writer.write(format!("line {number}\n").as_bytes());
            if number % 1000 == 0 {
                tokio::task::yield_now().await;
                assert!(fixture.writer.shared.lock().waiting() <= CAPACITY);
            }
        }
        fixture.writer.line("the end");
        assert!(fixture.writer.shared.lock().waiting() <= CAPACITY + RESERVE);
        fixture.store.stuck.send_replace(false);
        fixture.writer.finish().await.unwrap();
        let log = fixture.log();
        let (kept, end) = log.split_once('[').unwrap();
        let kept = kept.lines().inspect(|line| assert!(line.starts_with("line "))).count();
        let dropped = 1_000_000 - kept;
        assert!(end.starts_with(&format!("{dropped} lines (")), "{end}");
        assert!(end.ends_with("stored]\nthe end\n"), "{end}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_million_lines_arrive_whole_where_the_store_keeps_up() {
        let fixture = Fixture::new();
        for number in 0..1_000_000 {
            fixture.writer.write(format!("{number}\n").as_bytes());
            if number % 1000 == 0 {
                tokio::task::yield_now().await;
            }
        }
        fixture.writer.finish().await.unwrap();
        assert!(
            fixture
                .log()
                .lines()
                .enumerate()
                .all(|(number, line)| line.parse() == Ok(number))
        );
        assert_eq!(fixture.log().lines().count(), 1_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fenced_writer_stops_for_good_and_tells() {
        let fixture = Fixture::new();
        fixture.store.fenced.store(true, SeqCst);
        fixture.writer.write(b"not ours any more\n");
        fixture.fenced.cancelled().await;
        fixture.store.fenced.store(false, SeqCst);
        fixture.writer.write(b"nor this\n");
        assert_eq!(fixture.writer.finish().await, Err(AppendError::Fenced));
        assert_eq!(*fixture.store.appends.borrow(), 1);
        assert_eq!(fixture.log(), "");
        assert_eq!(fixture.writer.shared.lock().waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn finishing_gives_up_on_a_store_that_stays_away() {
        let fixture = Fixture::new();
        fixture.store.unavailable.store(true, SeqCst);
        fixture.writer.write(b"lost\n");
        fixture.appends(20).await;
        let begun = Instant::now();
        assert!(matches!(
            fixture.writer.finish().await,
            Err(AppendError::Unavailable(_))
        ));
        assert!(
            begun.elapsed() >= LAST_PATIENCE && begun.elapsed() < LAST_PATIENCE * 2,
            "{:?}",
            begun.elapsed()
        );
        assert!(!fixture.fenced.is_cancelled());
    }
}
