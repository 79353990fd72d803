//! Why a source could not be had, split by what the caller does next.

use std::time::Duration;

/// A failed fetch or a context that cannot be served. Every message can be shown to the user: none holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The user must change the source's settings, or what was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The rule's Dockerfile or build context is not where it says.
    #[error("{0}")]
    Location(String),
    /// The server did not accept the credentials, or wants some.
    #[error("{0}")]
    Auth(String),
    /// There is no such repository.
    #[error("{0}")]
    NotFound(String),
    /// The very commit cannot be had any more. Another one is never taken in its stead.
    #[error("commit {commit} is no longer on the server: it was force-pushed away or deleted")]
    CommitGone { commit: String },
    /// The branch or tag does not exist.
    #[error("there is no {name} on the server: it was deleted or never pushed")]
    RefGone {
        /// With its kind: `branch main`.
        name: String,
    },
    /// A limit on size or number was reached.
    #[error("{0}")]
    TooLarge(String),
    /// A limit on time was reached.
    #[error("{0}")]
    Timeout(String),
    /// The server or the way to it fails at the moment.
    #[error("{0}")]
    Unavailable(String),
    /// The local mirror cannot be used: a full disk, a broken file.
    #[error("the source mirror failed: {0}")]
    Mirror(String),
    #[error("canceled")]
    Canceled,
}

impl SourceError {
    /// Whether trying again later, with nothing changed, may help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Unavailable(_) | Self::Mirror(_) => true,
            Self::Invalid(_)
            | Self::Location(_)
            | Self::Auth(_)
            | Self::NotFound(_)
            | Self::CommitGone { .. }
            | Self::RefGone { .. }
            | Self::TooLarge(_)
            | Self::Canceled => false,
        }
    }

    pub(super) fn stalled(after: Duration) -> Self {
        Self::Timeout(format!("the git server said nothing for {} s", after.as_secs_f32()))
    }

    pub(super) fn mirror(error: impl std::fmt::Display) -> Self {
        Self::Mirror(error.to_string())
    }
}

impl From<git2::Error> for SourceError {
    fn from(error: git2::Error) -> Self {
        Self::mirror(error.message())
    }
}

impl From<std::io::Error> for SourceError {
    fn from(error: std::io::Error) -> Self {
        Self::mirror(error)
    }
}
