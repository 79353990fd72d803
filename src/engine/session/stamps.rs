//! Modification times for file sync.
//!
//! The engine keeps the last tree that it got under a shared key and asks only for files whose size, mode or
//! modification time differ. If every file bore its commit's time, each commit would send the whole tree again; and two
//! commits of the same second would be taken for the same files, so that the image would hold stale ones. Hence a file
//! keeps the time under which it was first sent for as long as its content stays, as in a work tree that is pulled
//! into: the time of the commit that brought it, with a fraction of a second that no other build has.
//!
//! What was sent is remembered in memory, within a bound. Where it is forgotten the shared key changes too, and with it
//! the tree: a time must never meet a tree whose history is not known.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Most files that are remembered over all shared keys; at about 100 bytes each.
const MAX_FILES: usize = 500_000;

const NANOSECONDS: i64 = 1_000_000_000;

/// What was sent under each shared key.
#[derive(Default)]
pub(in super::super) struct Stamps {
    histories: Mutex<Vec<(String, Arc<History>)>>,
}

impl Stamps {
    /// The history of a shared key, begun anew where it is not known. The least recently used ones are forgotten.
    pub(super) fn history(&self, shared_key: &str) -> Arc<History> {
        let mut histories = self.histories.lock().unwrap_or_else(PoisonError::into_inner);
        let known = histories.iter().position(|(key, _)| key == shared_key);
        let (key, history) = match known {
            Some(at) => histories.remove(at),
            None => (shared_key.to_owned(), Arc::new(History::new(shared_key))),
        };
        let mut room = MAX_FILES.saturating_sub(history.len());
        let keep_from = histories.iter().rposition(|(_, other)| {
            let files = other.len();
            let fits = files <= room;
            room = room.saturating_sub(files);
            !fits
        });
        histories.drain(..keep_from.map_or(0, |at| at + 1));
        histories.push((key, Arc::clone(&history)));
        history
    }
}

/// What was sent under one shared key.
pub(super) struct History {
    /// The shared key and what makes it this history's own.
    key: String,
    builds: AtomicU64,
    files: Mutex<HashMap<(String, Vec<u8>), Sent>>,
}

/// A file as it was sent last.
struct Sent {
    object: [u8; 20],
    modified: i64,
}

impl History {
    fn new(shared_key: &str) -> Self {
        Self {
            key: format!("{shared_key}-{}", uuid::Uuid::now_v7().simple()),
            builds: AtomicU64::new(0),
            files: Mutex::default(),
        }
    }

    fn len(&self) -> usize {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The key for the engine.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// A time for what is new in one build, in nanoseconds since 1970; no two builds get the same.
    pub(super) fn stamp(&self, seconds: i64) -> i64 {
        let build = self.builds.fetch_add(1, Ordering::Relaxed);
        let fraction = i64::try_from(build).unwrap_or_default() % NANOSECONDS;
        seconds.saturating_mul(NANOSECONDS).saturating_add(fraction)
    }

    /// The time that a file of the tree `tree` is to bear: `stamp` if it is new or changed.
    pub(super) fn modified(&self, tree: &str, path: &[u8], object: &[u8; 20], stamp: i64) -> i64 {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let full = files.len() >= MAX_FILES;
        match files.get_mut(&(tree.to_owned(), path.to_vec())) {
            Some(sent) if sent.object == *object => sent.modified,
            Some(sent) => {
                *sent = Sent {
                    object: *object,
                    modified: stamp,
                };
                stamp
            }
            // Beyond the bound a file is sent each time, under a time of its own.
            None if full => stamp,
            None => {
                files.insert(
                    (tree.to_owned(), path.to_vec()),
                    Sent {
                        object: *object,
                        modified: stamp,
                    },
                );
                stamp
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_time_until_its_content_changes() {
        let history = History::new("k");
        let first = history.stamp(100);
        assert_eq!(first, 100 * NANOSECONDS);
        assert_eq!(history.modified("context", b"a", &[1; 20], first), first);
        let second = history.stamp(200);
        assert_eq!(history.modified("context", b"a", &[1; 20], second), first);
        assert_eq!(history.modified("context", b"b", &[1; 20], second), second);
        assert_eq!(
            history.modified("dockerfile", b"a", &[1; 20], second),
            second,
            "another tree"
        );
        assert_eq!(history.modified("context", b"a", &[2; 20], second), second);
    }

    #[test]
    fn changed_content_never_bears_a_time_that_was_used_before_even_in_the_same_second() {
        let history = History::new("k");
        let times: Vec<i64> = [1, 2, 1, 3]
            .iter()
            .map(|&c| history.modified("context", b"a", &[c; 20], history.stamp(100)))
            .collect();
        let mut unique = times.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), times.len(), "{times:?}");
    }

    #[test]
    fn a_key_is_its_historys_own_and_the_oldest_histories_are_forgotten() {
        let stamps = Stamps::default();
        let a = stamps.history("a");
        assert_eq!(stamps.history("a").key(), a.key());
        assert_ne!(Stamps::default().history("a").key(), a.key());
        let fill = |history: &History, files: u32| {
            for file in 0..files {
                history.modified("context", &file.to_be_bytes(), &[0; 20], 0);
            }
        };
        fill(&a, 200_000);
        let b = stamps.history("b");
        fill(&b, 200_000);
        fill(&stamps.history("c"), 200_000);
        assert_eq!(stamps.history("b").key(), b.key());
        assert_ne!(stamps.history("a").key(), a.key());
    }
}
