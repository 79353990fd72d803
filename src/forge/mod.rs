//! Forges: their signatures and payloads, turned into our own events.
//!
//! The raw bytes of a webhook become a [`VerifiedDelivery`], and only that can be parsed into a
//! [`ForgeEvent`](crate::domain::event::ForgeEvent): nothing in here looks into a body whose signature has not been
//! checked, and nothing in here may put a secret or the signature that was expected into an error or a log.

mod bitbucket;
mod bitbucket_server;
mod delivery;
mod form;
mod gitea;
mod github;
mod gitlab;
mod gitlab_signature;
mod headers;
mod push;
mod signature;

pub use delivery::{Rejection, Verification, VerifiedDelivery, verify};

#[cfg(test)]
mod tests;
