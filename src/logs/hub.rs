//! Wakes those who follow a log when there may be more of it.
//!
//! A wake-up is a hint, never the news itself: followers read the store. For a log that grows in this process the writer
//! gives it; for all others one task per followed build looks into the store, however many follow. An entry exists only
//! while somebody writes or follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::chunks::{ChunkReader, Extent};
use crate::domain::ids::BuildId;

/// How often the log of a build that runs elsewhere is looked at: viewers are to see it within about 100 ms.
const POLL: Duration = Duration::from_millis(80);
/// The same where a writer of this process wakes us: only in case that one was not told of the build's end.
const POLL_LOCAL: Duration = Duration::from_secs(1);
/// The longest pause while the store cannot be read.
const POLL_FAULTY: Duration = Duration::from_secs(2);

/// All logs of this process that somebody writes or follows.
#[derive(Default)]
pub struct LogHub {
    entries: Mutex<HashMap<BuildId, Entry>>,
}

struct Entry {
    /// Its value means nothing; only its changes do.
    changes: watch::Sender<()>,
    writers: usize,
    polled: bool,
}

impl LogHub {
    /// Tells followers that the log of `build` has grown or ended.
    pub fn changed(&self, build: &BuildId) {
        if let Some(entry) = self.lock().get(build) {
            entry.changes.send_replace(());
        }
    }

    /// Says that this process writes the log of `build` while the guard lives, and calls [`Self::changed`].
    pub(super) fn writing(self: &Arc<Self>, build: &BuildId) -> Writing {
        self.lock().entry(build.clone()).or_insert_with(Entry::new).writers += 1;
        Writing {
            hub: Arc::clone(self),
            build: build.clone(),
        }
    }

    /// Registers interest in `build`: every change from now on wakes the subscription. To be called on a Tokio runtime.
    pub fn subscribe<R: ChunkReader>(self: &Arc<Self>, build: &BuildId, reader: &Arc<R>) -> Subscription {
        let mut entries = self.lock();
        let entry = entries.entry(build.clone()).or_insert_with(Entry::new);
        let changes = entry.changes.subscribe();
        if !std::mem::replace(&mut entry.polled, true) {
            let poll = poll(
                Arc::clone(self),
                build.clone(),
                Arc::clone(reader),
                entry.changes.clone(),
            );
            tokio::spawn(poll);
        }
        Subscription { changes }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BuildId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self, build: &BuildId) -> Duration {
        if self.lock().get(build).is_some_and(|entry| entry.writers > 0) {
            POLL_LOCAL
        } else {
            POLL
        }
    }

    /// Ends polling unless somebody has come to follow meanwhile.
    fn stop_polling(&self, build: &BuildId) -> bool {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(build) else {
            return true;
        };
        if entry.changes.receiver_count() > 0 {
            return false;
        }
        entry.polled = false;
        if entry.writers == 0 {
            entries.remove(build);
        }
        true
    }
}

impl Entry {
    fn new() -> Self {
        Self {
            changes: watch::Sender::new(()),
            writers: 0,
            polled: false,
        }
    }
}

/// Somebody in this process writes the log of a build.
pub(super) struct Writing {
    hub: Arc<LogHub>,
    build: BuildId,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut entries = self.hub.lock();
        if let Some(entry) = entries.get_mut(&self.build) {
            entry.writers -= 1;
            if entry.writers == 0 && !entry.polled {
                entries.remove(&self.build);
            }
        }
    }
}

/// Interest in one log.
pub struct Subscription {
    changes: watch::Receiver<()>,
}

impl Subscription {
    /// Waits for a change since the last one seen. Look at the log first, then wait: nothing is missed in between.
    pub async fn changed(&mut self) {
        // It can only fail without a sender, which the task that polls for us keeps.
        if self.changes.changed().await.is_err() {
            sleep(POLL).await;
        }
    }

    /// Takes all changes up to now as seen: the log is about to be looked at.
    pub fn mark_seen(&mut self) {
        self.changes.mark_unchanged();
    }
}

async fn poll<R: ChunkReader>(hub: Arc<LogHub>, build: BuildId, reader: Arc<R>, changes: watch::Sender<()>) {
    let mut last: Option<Extent> = None;
    let mut pause = hub.pause(&build);
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            () = changes.closed() => {
                if hub.stop_polling(&build) {
                    return;
                }
                continue;
            }
        }
        match reader.extent(&build).await {
            Ok(extent) => {
                if last.replace(extent) != Some(extent) {
                    changes.send_replace(());
                }
                pause = hub.pause(&build);
            }
            Err(error) => {
                if last.take().is_some() {
                    tracing::warn!(%build, %error, "a followed log could not be looked at");
                }
                // Who follows is to meet the error itself.
                changes.send_replace(());
                pause = (pause * 2).min(POLL_FAULTY);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use tokio::time::{Instant, timeout};

    use super::super::testing::MemoryStore;
    use super::*;

    fn parts() -> (Arc<LogHub>, Arc<MemoryStore>, BuildId) {
        let (store, build) = (MemoryStore::new(), BuildId::new());
        store.put(&build, b"something\n");
        (Arc::default(), store, build)
    }

    fn known(hub: &LogHub) -> usize {
        hub.lock().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_between_looking_and_waiting_is_not_lost() {
        let (hub, store, build) = parts();
        let _writing = hub.writing(&build);
        let mut subscription = hub.subscribe(&build, &store);
        subscription.mark_seen();
        hub.changed(&build);
        let begun = Instant::now();
        subscription.changed().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_of_another_build_wake_nobody() {
        let (hub, store, build) = parts();
        let _writing = hub.writing(&build);
        let mut subscription = hub.subscribe(&build, &store);
        hub.changed(&BuildId::new());
        assert!(timeout(POLL, subscription.changed()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_looks_at_a_remote_log_for_any_number_of_followers() {
        let (hub, store, build) = parts();
        let mut subscriptions: Vec<_> = (0..50).map(|_| hub.subscribe(&build, &store)).collect();
        for subscription in &mut subscriptions {
            subscription.changed().await;
        }
        store.put(&build, b"more\n");
        for subscription in &mut subscriptions {
            subscription.changed().await;
        }
        assert_eq!(store.extents.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_local_log_is_hardly_ever_looked_at() {
        let (hub, store, build) = parts();
        let _writing = hub.writing(&build);
        let _subscription = hub.subscribe(&build, &store);
        sleep(Duration::from_millis(10_500)).await;
        assert_eq!(store.extents.load(SeqCst), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn entries_vanish_when_nobody_needs_them() {
        let (hub, store, build) = parts();
        let first = hub.subscribe(&build, &store);
        let second = hub.subscribe(&build, &store);
        let writing = hub.writing(&build);
        assert_eq!(known(&hub), 1);
        drop((first, second));
        sleep(POLL).await;
        assert_eq!(known(&hub), 1, "it is still written");
        drop(writing);
        assert_eq!(known(&hub), 0);

        let writing = hub.writing(&build);
        let mut again = hub.subscribe(&build, &store);
        drop(writing);
        assert_eq!(known(&hub), 1, "it is still followed");
        again.changed().await;
        drop(again);
        sleep(POLL).await;
        assert_eq!(known(&hub), 0);
        let looked = store.extents.load(SeqCst);
        sleep(POLL * 20).await;
        assert_eq!(store.extents.load(SeqCst), looked, "nobody follows, so nobody looks");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_cannot_be_read_is_asked_ever_more_rarely() {
        let (hub, store, build) = parts();
        store.reads_fail.store(true, SeqCst);
        let _subscription = hub.subscribe(&build, &store);
        sleep(Duration::from_secs(20)).await;
        assert!(store.extents.load(SeqCst) < 20, "{}", store.extents.load(SeqCst));
    }
}
