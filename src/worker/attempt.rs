//! What everything that works on one attempt of a build has in hand.

use std::sync::Arc;

use super::{Parts, Stop, credentials::Credentials, progress::BuildProgress};
use crate::{
    domain::repository::Repository,
    store::{Build, Lease},
};

/// What one attempt works with.
pub(super) struct Attempt<'a> {
    pub(super) parts: &'a Parts,
    pub(super) lease: &'a Lease,
    pub(super) build: &'a Build,
    pub(super) repository: &'a Repository,
    pub(super) credentials: &'a Credentials,
    pub(super) progress: &'a Arc<BuildProgress>,
    pub(super) stop: &'a Stop,
}
