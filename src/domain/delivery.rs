//! The ledger: what became of every webhook, poll and click, and why.

use serde::{Deserialize, Serialize};

/// What a delivery led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// At least one build was queued.
    Queued,
    /// No rule is about what was pushed.
    NoMatch,
    /// Somebody asked for no build: a marker in the message, or autobuild is off.
    Skipped,
    /// A rule matched, but its tag cannot be one.
    Refused,
    /// Not a push, a deletion, or nothing changed.
    Ignored,
    /// It was known already: the same delivery, the same body, or a commit already on its way.
    Duplicate,
}

impl Outcome {
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::NoMatch,
        Self::Skipped,
        Self::Refused,
        Self::Ignored,
        Self::Duplicate,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::NoMatch => "no_match",
            Self::Skipped => "skipped",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::Duplicate => "duplicate",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.as_str() == text)
    }

    /// Of the outcomes of a delivery's refs and rules, the one that the delivery as a whole bears: the most telling.
    pub fn of_all(parts: impl IntoIterator<Item = Self>) -> Self {
        const MOST_TELLING_FIRST: [Outcome; 6] = [
            Outcome::Queued,
            Outcome::Duplicate,
            Outcome::Refused,
            Outcome::Skipped,
            Outcome::NoMatch,
            Outcome::Ignored,
        ];
        let parts: Vec<Self> = parts.into_iter().collect();
        MOST_TELLING_FIRST
            .into_iter()
            .find(|outcome| parts.contains(outcome))
            .unwrap_or(Self::Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_spelled_one_way() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        }
    }

    #[test]
    fn one_queued_build_makes_the_delivery_queued() {
        assert_eq!(
            Outcome::of_all([Outcome::NoMatch, Outcome::Refused, Outcome::Queued]),
            Outcome::Queued
        );
        assert_eq!(Outcome::of_all([Outcome::NoMatch, Outcome::Refused]), Outcome::Refused);
        assert_eq!(Outcome::of_all([Outcome::Ignored, Outcome::NoMatch]), Outcome::NoMatch);
        assert_eq!(Outcome::of_all([]), Outcome::Ignored);
    }
}
