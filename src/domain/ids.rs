//! Identifiers: one type each, so that no string is mistaken for another.
//!
//! New ids are UUID version 7 (RFC 9562) in plain hexadecimal: they sort by the time they were made, on any database,
//! as text. To everybody outside they are opaque.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A fresh, time-ordered id.
            #[expect(clippy::new_without_default, reason = "a default id would be a different one each time")]
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7().simple().to_string())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A person who may sign in.
    UserId
);
id!(
    /// An API token; not the token itself.
    TokenId
);
id!(
    /// A browser that is signed in; not what its cookie holds.
    SessionId
);
id!(
    /// What links a person to who they are at a provider.
    IdentityId
);
id!(
    /// An image repository with its source and rules.
    RepositoryId
);
id!(
    /// A build rule of a repository.
    RuleId
);
id!(
    /// The unguessable last part of a webhook's address.
    HookId
);
id!(
    /// One webhook, poll or click, as recorded.
    DeliveryId
);
id!(
    /// One build of one commit for one rule.
    BuildId
);
id!(
    /// A process that builds.
    WorkerId
);
id!(
    /// Stored credentials for one registry.
    RegistryId
);
id!(
    /// Several people with one namespace.
    OrganisationId
);
id!(
    /// An offer of membership; not the code that accepts it.
    InvitationId
);
id!(
    /// One line of the audit log.
    AuditId
);
id!(
    /// A clean-up that an administrator asked for.
    CleanUpId
);
id!(
    /// The rebuilds that follow when base images move.
    WaveId
);
id!(
    /// One rebuild of a wave.
    WaveItemId
);
