//! The words in which the audit log says what was done, and by what way.

use serde::Serialize;

/// The way by which somebody acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A browser that is, or was about to be, signed in.
    Session,
    /// An API token.
    Token,
    /// The command line, on the database itself.
    CommandLine,
    /// The service by itself.
    System,
}

impl By {
    pub const ALL: [Self; 4] = [Self::Session, Self::Token, Self::CommandLine, Self::System];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Token => "token",
            Self::CommandLine => "command_line",
            Self::System => "system",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == text)
    }
}

/// Each action with its spelling and what it is in words, in one place.
macro_rules! actions {
    ($($name:ident = $text:literal, $words:literal;)+) => {
        /// What was done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
        pub enum Action {
            $(#[serde(rename = $text)] $name,)+
        }

        impl Action {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As it is spelled in documents and in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The same in words, to be followed by its subject.
            pub fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }
        }
    };
}

actions! {
    SignedIn = "sign_in.succeeded", "signed in";
    SignInFailed = "sign_in.failed", "failed to sign in";
    SessionEnded = "session.ended", "ended a session of";
    UserCreated = "user.created", "created the user";
    UserChanged = "user.changed", "changed the user";
    UserDeleted = "user.deleted", "deleted the user";
    PasswordChanged = "password.changed", "changed the password of";
    IdentityLinked = "identity.linked", "linked a sign-in to";
    IdentityUnlinked = "identity.unlinked", "unlinked a sign-in from";
    TokenCreated = "token.created", "created the token";
    TokenRevoked = "token.revoked", "revoked the token";
    OrganisationCreated = "organisation.created", "created the organisation";
    OrganisationChanged = "organisation.changed", "changed the organisation";
    OrganisationDeleted = "organisation.deleted", "deleted the organisation";
    MemberAdded = "member.added", "added the member";
    MemberChanged = "member.changed", "changed the role of";
    MemberRemoved = "member.removed", "removed the member";
    InvitationCreated = "invitation.created", "invited";
    InvitationWithdrawn = "invitation.withdrawn", "withdrew the invitation of";
    InvitationAccepted = "invitation.accepted", "accepted the invitation of";
    RepositoryCreated = "repository.created", "created the repository";
    RepositoryChanged = "repository.changed", "changed the repository";
    RepositoryDeleted = "repository.deleted", "deleted the repository";
    SecretReplaced = "secret.replaced", "replaced secrets of";
    RegistrySaved = "registry.saved", "saved the registry";
    RegistryDeleted = "registry.deleted", "deleted the registry";
    BuildTriggered = "build.triggered", "triggered builds of";
    BuildCanceled = "build.canceled", "canceled a build of";
    BuildRetried = "build.retried", "retried a build of";
    DeliveryReplayed = "delivery.replayed", "replayed a delivery of";
    WorkerPaused = "worker.paused", "paused the worker";
    WorkerResumed = "worker.resumed", "let the worker go on:";
    CleanUpRequested = "clean_up.requested", "asked for a clean-up on";
    WavePaused = "wave.paused", "paused the wave";
    WaveResumed = "wave.resumed", "resumed the wave";
    WaveThrottled = "wave.throttled", "changed how many builds at once has the wave";
    WaveCanceled = "wave.canceled", "canceled the wave";
    SettingChanged = "setting.changed", "changed the setting";
}

impl Action {
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ways_and_actions_are_spelled_one_way() {
        for by in By::ALL {
            assert_eq!(By::parse(by.as_str()), Some(by));
            assert_eq!(serde_json::to_value(by).unwrap(), by.as_str());
        }
        for &action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
        let words: HashSet<&str> = Action::ALL.iter().map(|action| action.words()).collect();
        assert_eq!(words.len(), Action::ALL.len());
        assert_eq!(Action::parse("user.promoted"), None);
    }
}
