//! Builds: their states, what may follow which, why they were started and what they are to do.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{event::is_object_name, ids::BuildId};

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Queued,
    Running,
    Succeeded,
    Failed,
    Canceled,
    /// A newer push to the same rule and ref took its place, or already holds its tags.
    Superseded,
    /// Decided after the fetch that nothing is to be built.
    Skipped,
}

impl Status {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Canceled,
        Self::Superseded,
        Self::Skipped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Superseded => "superseded",
            Self::Skipped => "skipped",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether nothing can follow.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The states that may follow this one.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            // A queued build fails without running when it has used up its attempts.
            Self::Queued => matches!(next, Self::Running | Self::Canceled | Self::Superseded | Self::Failed),
            // Back to queued: its worker died, was told to stop, or waits for a fault to pass.
            Self::Running => next != Self::Running,
            _ => false,
        }
    }
}

/// What a running build is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Fetch,
    Build,
    Test,
    Push,
}

impl Phase {
    pub const ALL: [Self; 4] = [Self::Fetch, Self::Build, Self::Test, Self::Push];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Build => "build",
            Self::Test => "test",
            Self::Push => "push",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// Why a build was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// A webhook; `delivery` is its id in the ledger.
    Push { delivery: String },
    /// A person, by API or command line.
    Manual { user: String },
    /// The repository was created and asked for a first build.
    Create { user: String },
    /// Another build was tried again; `build` is its id.
    Retry { user: String, build: String },
    /// An image that it stands on got a new version.
    BaseImage {
        /// Fully named: `docker.io/library/alpine:3.20`.
        image: String,
        /// The digest that the last build used, where it is known.
        from: Option<String>,
        to: String,
        /// The build that pushed the new version, where that was one of ours.
        parent: Option<String>,
        /// The wave that it belongs to.
        wave: String,
    },
    /// The time had come that the rule's schedule names.
    Schedule { cron: String, time_zone: String },
    /// The source was looked at, and a push had come of which no webhook told.
    Poll,
}

impl Cause {
    /// Who started it, if a person did by themselves.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Manual { user } | Self::Create { user } | Self::Retry { user, .. } => Some(user),
            Self::Push { .. } | Self::BaseImage { .. } | Self::Schedule { .. } | Self::Poll => None,
        }
    }

    pub fn kind(&self) -> CauseKind {
        match self {
            Self::Push { .. } => CauseKind::Push,
            Self::Manual { .. } => CauseKind::Manual,
            Self::Create { .. } => CauseKind::Create,
            Self::Retry { .. } => CauseKind::Retry,
            Self::BaseImage { .. } => CauseKind::BaseImage,
            Self::Schedule { .. } => CauseKind::Schedule,
            Self::Poll => CauseKind::Poll,
        }
    }
}

/// What kind of [`Cause`] a build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    Push,
    Manual,
    Create,
    Retry,
    BaseImage,
    Schedule,
    Poll,
}

impl CauseKind {
    pub const ALL: [Self; 7] = [
        Self::Push,
        Self::Manual,
        Self::Create,
        Self::Retry,
        Self::BaseImage,
        Self::Schedule,
        Self::Poll,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Manual => "manual",
            Self::Create => "create",
            Self::Retry => "retry",
            Self::BaseImage => "base_image",
            Self::Schedule => "schedule",
            Self::Poll => "poll",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }

    /// Whether nobody waits for such a build: it follows by itself, behind those that somebody asked for.
    pub fn is_automatic(self) -> bool {
        matches!(self, Self::BaseImage | Self::Schedule)
    }
}

/// What went wrong, by what the user does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The commit could not be fetched.
    Source,
    /// The Dockerfile or the context is at fault.
    Dockerfile,
    /// A step of the Dockerfile failed.
    Build,
    /// The tests failed.
    Test,
    /// The registry refused or kept failing.
    Registry,
    /// The Docker Engine failed.
    Engine,
    /// A limit of time was hit.
    Timeout,
    /// Our bug.
    Internal,
}

impl ErrorKind {
    pub const ALL: [Self; 8] = [
        Self::Source,
        Self::Dockerfile,
        Self::Build,
        Self::Test,
        Self::Registry,
        Self::Engine,
        Self::Timeout,
        Self::Internal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Dockerfile => "dockerfile",
            Self::Build => "build",
            Self::Test => "test",
            Self::Registry => "registry",
            Self::Engine => "engine",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// Why a build failed, for a person to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    pub kind: ErrorKind,
    pub message: String,
}

impl Failure {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// What a build is to do, taken from its rule when it was queued: a later change of the rule does not reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// As the rule has it; resolved against the commit's tree by [`super::location::resolve`].
    pub dockerfile: String,
    pub context: String,
    /// Bare tags, the first one first.
    pub tags: Vec<String>,
    /// Image name without a tag, as configured: `registry.example.com/team/app`.
    pub image: String,
    pub build_args: BTreeMap<String, String>,
    pub target: String,
    pub platforms: Vec<String>,
    pub cache: bool,
    /// The rule's path filter.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What an image (fully named, with its tag) is to be taken for, whatever its tag stands for by then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub base_digests: BTreeMap<String, String>,
}

/// What a branch pointed to before the push that started a build. Only builds that a path filter may skip have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// The branch is new, or the forge does not know.
    Nothing,
    /// Full object name.
    Commit(String),
}

impl Before {
    /// As git spells it: the object name, or zeros for nothing.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Nothing => "0000000000000000000000000000000000000000",
            Self::Commit(commit) => commit,
        }
    }

    pub fn parse(text: &str) -> Self {
        match is_object_name(text) {
            true => Self::Commit(text.to_owned()),
            false => Self::Nothing,
        }
    }
}

/// One step of a build, as the builder reported it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Step {
    /// `[2/3] RUN make`, as in the log.
    pub name: String,
    /// `None`: it has not begun, or was served from the cache at once.
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub cached: bool,
    /// The builder's message, where the step failed.
    pub error: Option<String>,
}

/// An image that a build stood on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BaseImage {
    /// Fully named: `docker.io/library/alpine:3.20`.
    pub name: String,
    pub digest: Option<String>,
    /// The Dockerfile names the digest itself, so that it never moves.
    #[serde(default)]
    pub pinned: bool,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// `digest` is the manifest's, as the registry has it; `None` where nothing was to be pushed.
    Succeeded {
        digest: Option<String>,
    },
    Failed(Failure),
    Canceled,
    /// By a newer build that holds the tags.
    Superseded {
        by: BuildId,
    },
    /// Nothing that its rule builds was changed.
    Skipped {
        /// For a person to read: which files were looked at.
        reason: String,
    },
}

impl Ending {
    pub fn status(&self) -> Status {
        match self {
            Self::Succeeded { .. } => Status::Succeeded,
            Self::Failed(_) => Status::Failed,
            Self::Canceled => Status::Canceled,
            Self::Superseded { .. } => Status::Superseded,
            Self::Skipped { .. } => Status::Skipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_spelled_one_way() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for phase in Phase::ALL {
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
        for kind in CauseKind::ALL {
            assert_eq!(CauseKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn nothing_follows_a_final_state_and_every_other_move_is_listed() {
        use Status::*;
        let legal = [
            (Queued, Running),
            (Queued, Canceled),
            (Queued, Superseded),
            (Queued, Failed),
            (Running, Queued),
            (Running, Succeeded),
            (Running, Failed),
            (Running, Canceled),
            (Running, Superseded),
            (Running, Skipped),
        ];
        for from in Status::ALL {
            for to in Status::ALL {
                assert_eq!(from.may_become(to), legal.contains(&(from, to)), "{from:?} -> {to:?}");
                assert!(!(from.is_final() && from.may_become(to)));
            }
        }
    }

    #[test]
    fn what_was_before_is_spelled_as_git_does() {
        let commit = "0da1a1f0b3a0c8a1b5c9b1a7b4d6e9f0a1b2c3d4";
        assert_eq!(Before::parse(commit), Before::Commit(commit.to_owned()));
        for before in [Before::Nothing, Before::Commit(commit.to_owned())] {
            assert_eq!(Before::parse(before.as_str()), before);
        }
        assert_eq!(Before::parse("HEAD"), Before::Nothing);
    }

    #[test]
    fn a_cause_is_an_object_with_its_kind() {
        let cause = Cause::Push {
            delivery: "d".to_owned(),
        };
        assert_eq!(
            serde_json::to_value(&cause).unwrap(),
            serde_json::json!({"kind": "push", "delivery": "d"})
        );
        assert_eq!(cause.kind(), CauseKind::Push);
    }
}
