//! The provider through which people may sign in, with what this server makes of its word.

use crate::oidc::{Identity, Oidc};

/// A provider, as configured.
pub struct SignInProvider {
    pub oidc: Oidc,
    /// What people call it.
    pub name: String,
    /// Whether somebody whom nobody knows here becomes a new user.
    pub allow_sign_up: bool,
    /// Who is in this group there is an administrator here, and who is not, is not.
    pub admin_group: Option<String>,
}

impl SignInProvider {
    /// Whether somebody is to be an administrator; `None` where that is not the provider's to say.
    pub fn makes_admin(&self, identity: &Identity) -> Option<bool> {
        self.admin_group.as_deref().map(|group| identity.is_in(group))
    }
}
