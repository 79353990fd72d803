//! What of all repositories a list may show.

use crate::domain::ids::UserId;

/// Whose eyes a list is for. What is public is seen by everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sight {
    #[default]
    Public,
    /// The private things too of the user's own namespace and organisations.
    Of(UserId),
    /// Of an administrator of the server, or where it has been decided otherwise.
    Everything,
}

impl Sight {
    pub(super) fn is_everything(&self) -> bool {
        *self == Self::Everything
    }

    /// The user to look up in the view `readable_namespaces`; no user has the empty id.
    pub(super) fn user(&self) -> &str {
        match self {
            Self::Of(user) => user.as_str(),
            Self::Public | Self::Everything => "",
        }
    }
}
