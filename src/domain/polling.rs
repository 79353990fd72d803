//! How often sources are looked at: seldom where webhooks come, often where none does.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A webhook that came longer ago says nothing of whether the next one will.
const WEBHOOK_COUNTS: TimeDelta = TimeDelta::days(30);

/// What an administrator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollPace {
    /// Between two looks at a source whose webhooks come; zero: no source is looked at.
    pub poll: Duration,
    /// The same for one of which no webhook has come lately; never longer than the other.
    pub without_webhook: Duration,
}

impl PollPace {
    /// Whether anything is looked at.
    pub fn is_on(&self) -> bool {
        !self.poll.is_zero()
    }

    /// Whether webhooks come, as far as the last one tells.
    pub fn has_webhook(last_webhook: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        last_webhook.is_some_and(|at| now - at < WEBHOOK_COUNTS)
    }

    /// The time between two looks at a source.
    pub fn between(&self, last_webhook: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
        match Self::has_webhook(last_webhook, now) {
            true => self.poll,
            false => self.without_webhook.min(self.poll),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_looked_at_often_until_a_webhook_comes_and_again_when_they_stay_away() {
        let pace = PollPace {
            poll: Duration::from_secs(3600),
            without_webhook: Duration::from_secs(120),
        };
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        for (last, seconds) in [
            (None, 120),
            (Some(now), 3600),
            (Some(now - TimeDelta::days(29)), 3600),
            (Some(now - TimeDelta::days(31)), 120),
        ] {
            assert_eq!(pace.between(last, now).as_secs(), seconds, "{last:?}");
        }
        let seldom = PollPace {
            without_webhook: Duration::from_secs(7200),
            ..pace
        };
        assert_eq!(seldom.between(None, now).as_secs(), 3600);
    }
}
