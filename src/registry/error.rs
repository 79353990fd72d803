//! Why a registry could not be asked, split by what the caller does next.

use std::time::Duration;

/// Why a registry gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The registry, or its token service, does not let this account (or nobody in particular) do that.
    #[error("{0}")]
    Refused(String),
    /// The registry wants the password sent to a host that may not see it.
    #[error(
        "{registry} wants credentials sent to {realm}, which is not known to belong to it; if it does, add {realm} to \
         the trusted realms of this registry"
    )]
    UntrustedRealm { registry: String, realm: String },
    /// Too many requests.
    #[error("{registry} has had too many requests{}", patience(*retry_after))]
    RateLimited {
        registry: String,
        /// How long to wait, where the registry said so; at most a day.
        retry_after: Option<Duration>,
    },
    /// Not reached, too slow, or in trouble itself.
    #[error("{reason}")]
    Unavailable {
        reason: String,
        /// How long to wait, where the registry said so; at most a day.
        retry_after: Option<Duration>,
    },
    /// Reached, but what it says makes no sense.
    #[error("{0}")]
    Malformed(String),
}

impl RegistryError {
    /// Whether the same question may well be answered later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. } | Self::Unavailable { .. } => true,
            Self::Refused(_) | Self::UntrustedRealm { .. } | Self::Malformed(_) => false,
        }
    }

    /// How long the registry asks to be left alone, where it says so; at most a day.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            Self::Refused(_) | Self::UntrustedRealm { .. } | Self::Malformed(_) => None,
        }
    }

    /// [`RegistryError::Unavailable`] of a registry that said nothing about when to come back.
    pub(super) fn unavailable(reason: String) -> Self {
        Self::Unavailable {
            reason,
            retry_after: None,
        }
    }
}

fn patience(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!("; it may be asked again in {} s", wait.as_secs()),
        None => String::new(),
    }
}
