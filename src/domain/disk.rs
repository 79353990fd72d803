//! What a worker finds on its disk and in its engine, and what can be cleaned up there.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a worker last found. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    pub looked_at: DateTime<Utc>,
    /// Of the file system that holds the data directory.
    pub free: u64,
    pub total: u64,
    pub database: u64,
    pub logs: u64,
    pub mirrors: u64,
    /// `None`: the engine did not say.
    pub engine: Option<EngineUse>,
}

/// What an engine holds, of ours and of others. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineUse {
    pub images: u64,
    /// Layers that images share count once.
    pub image_bytes: u64,
    pub cache_bytes: u64,
    /// What no build uses at present.
    pub idle_cache_bytes: u64,
}

/// What can be cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanUp {
    /// The engine's build cache that was not used for a day.
    BuildCache,
    /// Images that builds here made and that bear no name any more.
    Images,
    /// Source mirrors of repositories that are gone.
    Mirrors,
}

impl CleanUp {
    pub const ALL: [Self; 3] = [Self::BuildCache, Self::Images, Self::Mirrors];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BuildCache => "build_cache",
            Self::Images => "images",
            Self::Mirrors => "mirrors",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What it removes, for a person to read.
    pub fn words(self) -> &'static str {
        match self {
            Self::BuildCache => "build cache that was not used for a day",
            Self::Images => "images of builds here that bear no name any more",
            Self::Mirrors => "source mirrors of repositories that are gone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_ups_are_spelled_one_way() {
        for kind in CleanUp::ALL {
            assert_eq!(CleanUp::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(CleanUp::parse("everything"), None);
    }
}
