//! Image registries over HTTP: digests, platforms, tokens, whom credentials may be shown, and what registries report.
//!
//! Speaks the OCI distribution specification, as far as reading goes; pushing is the engine's. Everything that a
//! registry answers is taken as hostile. Credentials must never reach a host that they are not meant for, nor any
//! host in the clear, except this machine and hosts that the administrator listed as insecure.

mod access;
mod address;
mod allowance;
mod at_most;
mod challenge;
mod error;
pub mod events;
mod http;
mod look;
mod manifest;
mod platforms;
mod realm;
mod retry_after;
mod token;
mod token_cache;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

pub use access::RegistryKind;
pub use allowance::Allowance;
pub use error::RegistryError;
pub use look::{Found, Look};

/// Asks registries. Cheap to clone; clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Registries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    config: RegistriesConfig,
    tokens: token_cache::TokenCache,
}

/// How registries are spoken to.
#[derive(Debug, Clone)]
pub struct RegistriesConfig {
    /// Hosts (`registry.lan:5000`, as images name them) that may be spoken to without encryption, beside this machine.
    pub insecure: Vec<String>,
    /// For one connection, its TLS handshake included.
    pub connect_timeout: Duration,
    /// For one question, all the requests that it takes included.
    pub total_timeout: Duration,
}

impl Default for RegistriesConfig {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(30),
        }
    }
}

/// A user's or robot's account at one registry.
#[derive(Debug, Clone)]
pub struct RegistryCredentials {
    pub username: String,
    pub password: SecretString,
    /// Hosts (`auth.example.net`, with `:port` where one port alone is meant) that may see the password too, because
    /// the registry has its tokens given out there.
    pub trusted_realms: Vec<String>,
}
