//! Which git servers are left alone for now, since they fail: ever longer while they do.
//!
//! Decides and remembers; time and chance come from outside.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::after;

/// How long after the first failure; each further one in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

/// Servers that are remembered. Their names come from people, so there may be any number of them.
const MOST_HOSTS: usize = 1000;

#[derive(Debug)]
pub(super) struct Hosts {
    failing: Mutex<HashMap<String, Failing>>,
    /// A number from 0 to 1, by which pauses differ that began together.
    jitter: fn() -> f64,
}

#[derive(Debug)]
struct Failing {
    /// In a row.
    failures: u32,
    until: DateTime<Utc>,
}

impl Hosts {
    pub(super) fn new(jitter: fn() -> f64) -> Self {
        Self {
            failing: Mutex::default(),
            jitter,
        }
    }

    /// Until when a server is left alone; `None`: it may be asked.
    pub(super) fn left_alone_until(&self, host: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let failing = self.failing();
        let until = failing.get(host)?.until;
        // A clock that was set back must not make it wait for long.
        (until > now && until <= after(now, LONGEST_PAUSE)).then_some(until)
    }

    pub(super) fn succeeded(&self, host: &str) {
        self.failing().remove(host);
    }

    /// The server did not answer, or was in trouble. Answers until when it is left alone.
    pub(super) fn failed(&self, host: &str, now: DateTime<Utc>) -> DateTime<Utc> {
        let jitter = (self.jitter)().clamp(0.0, 1.0);
        let mut failing = self.failing();
        if failing.len() >= MOST_HOSTS && !failing.contains_key(host) {
            // Whoever would be asked again first loses the least by being forgotten.
            let soonest = failing
                .iter()
                .min_by_key(|(_, host)| host.until)
                .map(|(host, _)| host.clone());
            soonest.and_then(|host| failing.remove(&host));
        }
        let host = failing.entry(host.to_owned()).or_insert(Failing {
            failures: 0,
            until: now,
        });
        let doubled = FIRST_PAUSE.saturating_mul(1 << host.failures.min(16));
        host.failures = host.failures.saturating_add(1);
        host.until = after(now, doubled.min(LONGEST_PAUSE).mul_f64(0.5 + jitter / 2.0));
        host.until
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<String, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn pauses_double_up_to_half_an_hour_and_end_with_the_first_answer() {
        let hosts = Hosts::new(|| 1.0);
        let mut now = 0;
        for pause in [60, 120, 240, 480, 960, 1800, 1800] {
            assert_eq!(hosts.left_alone_until("a", at(now)), None);
            assert_eq!(hosts.failed("a", at(now)), at(now + pause));
            assert_eq!(hosts.left_alone_until("a", at(now + pause - 1)), Some(at(now + pause)));
            assert_eq!(hosts.left_alone_until("b", at(now)), None, "others are not to blame");
            now += pause;
        }
        hosts.succeeded("a");
        assert_eq!(hosts.failed("a", at(now)), at(now + 60));
    }

    #[test]
    fn pauses_differ_by_chance() {
        assert_eq!(Hosts::new(|| 0.0).failed("a", at(0)), at(30));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_prolong_a_pause() {
        let hosts = Hosts::new(|| 1.0);
        hosts.failed("a", at(10_000));
        assert_eq!(hosts.left_alone_until("a", at(0)), None);
    }

    #[test]
    fn no_more_servers_are_remembered_than_fit() {
        let hosts = Hosts::new(|| 1.0);
        for n in 0..=MOST_HOSTS {
            hosts.failed(&format!("{n}"), at(n as u64));
        }
        assert_eq!(hosts.failing().len(), MOST_HOSTS);
        assert!(hosts.failing().contains_key("1000") && !hosts.failing().contains_key("0"));
    }
}
