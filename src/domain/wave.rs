//! Waves: the rebuilds that follow when base images move, from the first sight to the last build.

use serde::{Deserialize, Serialize};

/// How a wave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaveState {
    /// It waits a moment for more images to move; what it will rebuild is not decided yet.
    Settling,
    Running,
    /// It starts nothing new until it is resumed.
    Paused,
    /// Everything in it has ended.
    Done,
    /// By a person; it starts nothing more.
    Canceled,
}

impl WaveState {
    pub const ALL: [Self; 5] = [Self::Settling, Self::Running, Self::Paused, Self::Done, Self::Canceled];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settling => "settling",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Canceled => "canceled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether it can still lead to builds.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Settling | Self::Running | Self::Paused)
    }
}

/// How one rebuild of a wave is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// For the images that it stands on, or for its turn.
    Waiting,
    /// Its build is queued or running.
    Building,
    /// Its image stands on the new version.
    Done,
    /// Its build failed.
    Failed,
    /// What it stands on failed or was canceled, so it was not built.
    Held,
    /// It was not needed; the reason says why.
    Skipped,
    Canceled,
}

impl ItemState {
    pub const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Building,
        Self::Done,
        Self::Failed,
        Self::Held,
        Self::Skipped,
        Self::Canceled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Building => "building",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Skipped => "skipped",
            Self::Canceled => "canceled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    pub fn is_final(self) -> bool {
        !matches!(self, Self::Waiting | Self::Building)
    }

    /// Whether what stands on its image must not be built in this wave.
    pub fn holds_others(self) -> bool {
        matches!(self, Self::Failed | Self::Held | Self::Canceled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_spelled_one_way() {
        for state in WaveState::ALL {
            assert_eq!(WaveState::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for state in ItemState::ALL {
            assert_eq!(ItemState::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
