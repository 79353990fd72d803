//! Why somebody could not be signed in by the provider.

/// Longest part of a provider's own message that is shown, in characters.
pub(super) const LONGEST_MESSAGE: usize = 200;

/// Why the provider's word could not be had or taken. Each reads after "sign-in failed: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// It passes: the provider is away, slow or failing.
    #[error("the provider cannot be asked now: {0}")]
    Unavailable(String),
    /// For the administrator: the provider is not what the configuration says.
    #[error("the provider answers in a way that cannot be used: {0}")]
    Provider(String),
    /// The provider takes back what it let the browser in for.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// What came is not the provider's word for us, now.
    #[error("the provider's answer cannot be trusted: {0}")]
    Untrusted(String),
}
