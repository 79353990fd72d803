//! How often each registry is asked: never faster than it likes, ever more seldom while it fails, and sparingly when it says
//! that little is left of what it allows.
//!
//! Decides and remembers; it neither waits nor asks, and time and chance come from outside.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};

use crate::registry::Allowance;

/// Wait after the first failure; each further one in a row doubles it.
const FIRST_BACK_OFF: Duration = Duration::from_secs(30);

/// The longest wait that is not asked for by the registry itself.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60 * 60);

/// Registries that are remembered. Their names come from people's Dockerfiles, so there may be any number of them.
const MOST_HOSTS: usize = 1000;

/// When which registry may be asked.
#[derive(Debug)]
pub struct Pace {
    hosts: HashMap<String, Host>,
    /// Time from one question to the next.
    interval: Duration,
    /// A number from 0 to 1, by which waits differ that began together.
    jitter: fn() -> f64,
}

#[derive(Debug)]
struct Host {
    /// It is not asked for `wait` from `since` on.
    since: DateTime<Utc>,
    wait: Duration,
    /// In a row; those of questions that were on their way at the same time count as one.
    failures: u32,
    /// When the wait after the last failure ends.
    back_off_until: DateTime<Utc>,
    /// Of the allowance, when it was last told.
    remaining: Option<u32>,
}

impl Pace {
    pub fn new(interval: Duration, jitter: fn() -> f64) -> Self {
        Self {
            hosts: HashMap::new(),
            interval,
            jitter,
        }
    }

    /// How long a registry must be left alone yet; zero: it may be asked now.
    pub fn due(&self, host: &str, now: DateTime<Utc>) -> Duration {
        self.hosts.get(host).map_or(Duration::ZERO, |host| host.left(now))
    }

    /// A question takes its turn, now or when the registry is [`Self::due`]: the next one has to wait a moment longer.
    pub fn started(&mut self, host: &str, now: DateTime<Utc>) {
        let interval = self.interval;
        let host = self.host(host, now);
        let wait = host.left(now) + interval;
        host.wait_at_least(wait, now);
    }

    /// The registry answered, whatever it said about the image. A wait that it asked for before stays.
    pub fn succeeded(&mut self, host: &str, allowance: Option<Allowance>, now: DateTime<Utc>) {
        let host = self.host(host, now);
        host.failures = 0;
        let Some(allowance) = allowance else {
            return;
        };
        // Docker Hub does not count a look, and what others use up there is no reason to look less often.
        let costs = host.remaining.is_none_or(|before| allowance.remaining < before);
        host.remaining = Some(allowance.remaining);
        if costs {
            host.wait_at_least(spacing(allowance), now);
        }
    }

    /// The registry was not reached, was in trouble, or has had too many questions; `retry_after` is what it said about when
    /// to come back.
    pub fn failed(&mut self, host: &str, retry_after: Option<Duration>, now: DateTime<Utc>) {
        let jitter = (self.jitter)().clamp(0.0, 1.0);
        let host = self.host(host, now);
        if host.failures == 0 || now >= host.back_off_until {
            host.failures = host.failures.saturating_add(1);
        }
        let doubled = FIRST_BACK_OFF.saturating_mul(1 << (host.failures - 1).min(16));
        let back_off = doubled.min(LONGEST_BACK_OFF).mul_f64(0.5 + jitter / 2.0);
        // Never sooner than the registry said, and not all at the same moment.
        let asked_for = retry_after.unwrap_or_default().mul_f64(1.0 + jitter / 10.0);
        let wait = back_off.max(asked_for);
        host.wait_at_least(wait, now);
        host.back_off_until = host.back_off_until.max(now + wait);
    }

    fn host(&mut self, name: &str, now: DateTime<Utc>) -> &mut Host {
        if self.hosts.len() >= MOST_HOSTS && !self.hosts.contains_key(name) {
            self.forget_one(now);
        }
        self.hosts.entry(name.to_owned()).or_insert(Host {
            since: now,
            wait: Duration::ZERO,
            failures: 0,
            back_off_until: now,
            remaining: None,
        })
    }

    /// Forgets the registry that would be asked next, which loses the least.
    fn forget_one(&mut self, now: DateTime<Utc>) {
        let soonest = self
            .hosts
            .iter()
            .min_by_key(|(_, host)| (host.left(now), host.failures))
            .map(|(name, _)| name.clone());
        if let Some(name) = soonest {
            self.hosts.remove(&name);
        }
    }
}

impl Host {
    fn left(&self, now: DateTime<Utc>) -> Duration {
        match (now - self.since).to_std() {
            Ok(gone) => self.wait.saturating_sub(gone),
            // The clock was set back. Waiting for it to come around again could take for ever.
            Err(_) => Duration::ZERO,
        }
    }

    fn wait_at_least(&mut self, wait: Duration, now: DateTime<Utc>) {
        if wait > self.left(now) {
            self.since = now;
            self.wait = wait;
        }
    }
}

/// How far apart questions are that count: as near as one likes while more than a quarter is left, then so that what is left
/// lasts for the window. A tenth is kept for builds: within it, one question in a quarter of the window finds out whether
/// there is more again.
fn spacing(allowance: Allowance) -> Duration {
    let Allowance {
        limit,
        remaining,
        window,
    } = allowance;
    if remaining > limit / 4 {
        return Duration::ZERO;
    }
    match remaining.saturating_sub(limit.div_ceil(10)) {
        0 => window / 4,
        usable => (window / usable).min(window / 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn at(seconds: u64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn pace(jitter: fn() -> f64) -> Pace {
        Pace::new(Duration::from_secs(2), jitter)
    }

    fn due(pace: &Pace, seconds: u64) -> u64 {
        pace.due("r.example", at(seconds)).as_secs()
    }

    fn of(limit: u32, remaining: u32) -> Option<Allowance> {
        Some(Allowance {
            limit,
            remaining,
            window: Duration::from_secs(6 * HOUR),
        })
    }

    #[test]
    fn questions_to_one_registry_keep_their_distance_and_others_do_not_wait() {
        let mut pace = pace(|| 1.0);
        assert_eq!(due(&pace, 0), 0);
        pace.started("r.example", at(0));
        assert_eq!((due(&pace, 0), due(&pace, 1), due(&pace, 2)), (2, 1, 0));
        assert_eq!(pace.due("other.example", at(0)), Duration::ZERO);
        pace.succeeded("r.example", None, at(1));
        assert_eq!(due(&pace, 1), 1, "an answer does not shorten the distance");
    }

    #[test]
    fn waits_double_with_each_failure_up_to_an_hour_and_differ_by_chance() {
        for (jitter, expected) in [
            ((|| 1.0) as fn() -> f64, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]),
            (|| 0.0, [15, 30, 60, 120, 240, 480, 960, 1800, 1800]),
            (|| 7.0, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]),
        ] {
            let mut pace = pace(jitter);
            let mut now = 0;
            let waits = expected.map(|_| {
                pace.failed("r.example", None, at(now));
                let wait = due(&pace, now);
                now += wait;
                assert_eq!(due(&pace, now), 0);
                wait
            });
            assert_eq!(waits, expected);
        }
    }

    #[test]
    fn a_registry_that_never_answers_is_asked_on_once_an_hour() {
        let mut pace = pace(|| 1.0);
        for number in 0..100 {
            pace.failed("r.example", None, at(number * HOUR));
            assert!(due(&pace, number * HOUR) <= HOUR);
        }
    }

    #[test]
    fn questions_that_fail_together_double_the_wait_once() {
        let mut pace = pace(|| 1.0);
        for number in 0..16 {
            pace.failed("r.example", None, at(number));
        }
        assert_eq!(due(&pace, 15), 30, "from the last one on");
        pace.started("r.example", at(45));
        pace.failed("r.example", None, at(45));
        assert_eq!(due(&pace, 45), 60);
    }

    #[test]
    fn an_answer_ends_the_doubling() {
        let mut pace = pace(|| 1.0);
        pace.failed("r.example", None, at(0));
        pace.failed("r.example", None, at(30));
        pace.succeeded("r.example", None, at(90));
        pace.failed("r.example", None, at(100));
        assert_eq!(due(&pace, 100), 30);
    }

    #[test]
    fn a_registry_is_not_asked_sooner_than_it_said() {
        for (retry_after, jitter, expected) in [
            (7, (|| 0.0) as fn() -> f64, 15),
            (300, || 0.0, 300),
            (300, || 1.0, 330),
            (24 * HOUR, || 0.0, 24 * HOUR),
        ] {
            let mut pace = pace(jitter);
            pace.failed("r.example", Some(Duration::from_secs(retry_after)), at(0));
            assert_eq!(due(&pace, 0), expected, "{retry_after}");
        }
        let mut pace = pace(|| 0.0);
        pace.failed("r.example", Some(Duration::from_secs(300)), at(0));
        pace.succeeded("r.example", of(100, 100), at(1));
        pace.failed("r.example", None, at(2));
        assert_eq!(due(&pace, 3), 297, "whatever questions that were on their way came to");
    }

    #[test]
    fn what_is_left_of_an_allowance_is_spread_and_its_last_tenth_is_left_to_builds() {
        for (limit, remaining, expected) in [
            (100, 100, 0),
            (100, 26, 0),
            (100, 25, 6 * HOUR / 15),
            (100, 20, 6 * HOUR / 10),
            (100, 12, 6 * HOUR / 4),
            (100, 11, 6 * HOUR / 4),
            (100, 10, 6 * HOUR / 4),
            (100, 0, 6 * HOUR / 4),
            (1, 1, 0),
            (1, 0, 6 * HOUR / 4),
            (u32::MAX, 1_000_000_000, 6 * HOUR / 570_503_270),
        ] {
            let mut pace = pace(|| 0.0);
            pace.succeeded("r.example", of(limit, remaining), at(0));
            assert_eq!(due(&pace, 0), expected, "{remaining} of {limit}");
        }
    }

    #[test]
    fn where_looking_uses_nothing_up_there_is_no_need_to_look_less() {
        let mut pace = pace(|| 0.0);
        let step = 6 * HOUR / 10;
        let mut told = |number: u64, remaining: u32| {
            pace.succeeded("r.example", of(100, remaining), at(number * 2 * step));
            due(&pace, number * 2 * step)
        };
        assert_eq!(told(0, 20), step, "it is not known yet");
        assert_eq!(told(1, 20), 0);
        assert_eq!(told(2, 23), 0);
        assert_eq!(told(3, 22), 6 * HOUR / 12);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting() {
        let mut pace = pace(|| 1.0);
        pace.failed("r.example", None, at(1_000_000));
        assert_eq!(due(&pace, 0), 0);
        pace.failed("r.example", None, at(0));
        assert_eq!(due(&pace, 0), 30);
    }

    #[test]
    fn however_many_registries_there_are_those_that_wait_longest_are_remembered() {
        let mut pace = pace(|| 1.0);
        pace.failed("r.example", Some(Duration::from_secs(HOUR)), at(0));
        for number in 0..5000 {
            pace.started(&format!("{number}.example"), at(0));
            assert!(pace.hosts.len() <= MOST_HOSTS);
        }
        assert!(due(&pace, 0) >= HOUR);
    }
}
