//! Who may do what in a namespace. Spelled here once: the store keeps roles, the web asks for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What somebody may do in a namespace; each may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees what is private.
    Read,
    /// Starts, cancels and retries builds, and sees deliveries with what was sent.
    Write,
    /// Makes repositories and edits their rules, links and secrets, and the namespace's registries.
    Admin,
    /// Deletes repositories, and manages members and the organisation itself.
    Owner,
}

impl Role {
    /// From the least to the most.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Admin, Self::Owner];

    /// As it is spelled in documents and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// What it adds to the role before it, for a person who chooses one.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Read => "sees private repositories, their builds and logs",
            Self::Write => "also starts, cancels and retries builds, and sees deliveries",
            Self::Admin => "also makes repositories and edits rules, links, secrets and registries",
            Self::Owner => "also deletes repositories and manages members and the organisation",
        }
    }
}

/// The most that a credential allows, whoever uses it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// To look.
    Read,
    /// To start, cancel and retry builds.
    Write,
    /// Everything that its owner may do. So is a session.
    #[default]
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Admin];

    /// As it is spelled in documents and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// The highest role that can be used under it.
    pub fn most(self) -> Role {
        match self {
            Self::Read => Role::Read,
            Self::Write => Role::Write,
            Self::Admin => Role::Owner,
        }
    }
}

/// What a person's memberships and the credential they came with allow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access {
    /// Organisations, by name, with the role there.
    pub roles: BTreeMap<String, Role>,
    pub scope: Scope,
}

impl Access {
    /// The role of the person `own` in a namespace, as far as the credential allows it.
    ///
    /// One's own namespace is one's own; so is everything to administrators of the server.
    pub fn role_in(&self, own: &str, is_admin: bool, namespace: &str) -> Option<Role> {
        let role = match is_admin || own == namespace {
            true => Some(Role::Owner),
            false => self.roles.get(namespace).copied(),
        };
        role.map(|role| role.min(self.scope.most()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_scopes_are_spelled_one_way() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert_eq!(Role::parse("root"), None);
        assert_eq!(Scope::parse("owner"), None);
    }

    #[test]
    fn each_role_may_what_the_ones_before_it_may() {
        assert!(Role::ALL.is_sorted());
    }

    #[test]
    fn a_role_comes_from_the_namespace_the_membership_or_the_whole_server_and_is_capped_by_the_credential() {
        use Role::*;
        let check = |is_admin: bool, scope: Scope, namespace: &str, expected: Option<Role>| {
            let access = Access {
                roles: [
                    ("readers", Read),
                    ("writers", Write),
                    ("admins", Admin),
                    ("owners", Owner),
                ]
                .map(|(name, role)| (name.to_owned(), role))
                .into(),
                scope,
            };
            let found = access.role_in("ann", is_admin, namespace);
            assert_eq!(found, expected, "{is_admin} {scope:?} {namespace}");
        };
        check(false, Scope::Admin, "ann", Some(Owner));
        check(false, Scope::Write, "ann", Some(Write));
        check(false, Scope::Read, "ann", Some(Read));
        check(false, Scope::Admin, "bob", None);
        check(false, Scope::Admin, "readers", Some(Read));
        check(false, Scope::Admin, "writers", Some(Write));
        check(false, Scope::Admin, "admins", Some(Admin));
        check(false, Scope::Admin, "owners", Some(Owner));
        check(false, Scope::Write, "readers", Some(Read));
        check(false, Scope::Write, "owners", Some(Write));
        check(false, Scope::Read, "owners", Some(Read));
        check(true, Scope::Admin, "bob", Some(Owner));
        check(true, Scope::Admin, "readers", Some(Owner));
        check(true, Scope::Write, "nobodys", Some(Write));
        check(true, Scope::Read, "nobodys", Some(Read));
    }
}
