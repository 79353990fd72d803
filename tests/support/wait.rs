//! Waiting for a condition, with a deadline: instead of sleeping for a time that is either too short or too long.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pause between two looks: short enough that no test is slower for it.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something, and returns it.
///
/// # Panics
/// When the deadline has passed; `what` is the condition in words.
pub async fn until<T>(what: &str, deadline: Duration, look: impl AsyncFnMut() -> Option<T>) -> T {
    match until_some(deadline, look).await {
        Some(found) => found,
        None => panic!("waited {deadline:?} in vain for {what}"),
    }
}

/// As [`until`], but `None` when the deadline has passed.
pub async fn until_some<T>(deadline: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(PAUSE).await;
    }
}
