//! The Docker Engine: builds images and pushes them, over its HTTP interface.
//!
//! BuildKit is served through a session of our own; the classic builder gets a tar stream. Nothing here
//! knows of repositories, queues or stored builds, and nothing here is written to disk. No wait is without a limit,
//! except for a step that runs while the engine answers.

mod bases;
mod build;
mod buildkit;
mod classic;
mod clean;
mod client;
mod context_tar;
mod disk;
mod dockerfile;
mod error;
mod fault;
mod frontend;
mod http;
mod info;
mod inspect;
mod layers;
mod messages;
mod pinned;
mod push;
mod session;
mod spec;
mod trace;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::{
    clean::{BUILD_LABEL, Swept},
    disk::IMAGE_LABEL,
    error::{ConnectError, EngineError},
    frontend::DEFAULT_FRONTENDS,
    info::EngineInfo,
    spec::{BuildSpec, Builder, BuiltImage, RegistryAuth},
};
use self::{http::Address, session::Stamps};

/// How the engine is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineConfig {
    /// `unix:///path/to/socket` or `tcp://host:port`; `None`: `unix:///var/run/docker.sock`.
    pub docker_host: Option<String>,
}

/// A Docker Engine. Clones share what is remembered of the files that it was sent.
#[derive(Clone)]
pub struct Engine {
    address: Address,
    stamps: Arc<Stamps>,
}

impl Engine {
    /// Takes the address; nothing is sent yet, and an engine that is absent is no error.
    pub fn connect(config: &EngineConfig) -> Result<Self, ConnectError> {
        Ok(Self {
            address: Address::parse(config.docker_host.as_deref())?,
            stamps: Arc::default(),
        })
    }
}
