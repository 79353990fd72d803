//! Watches the images that something is built on, and has it built again when one moves: in order, once, and on exactly the
//! new version.
//!
//! Two loops: one looks at registries, the other takes waves further. They know each other through the store alone, so a
//! registry that is slow holds up no build, and what one process began any other goes on with.

mod looks;
mod moves;
mod pace;
mod steps;
mod waves;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, intake::Intake, registry::Registries, signals::Signals, store::Store, vault::Vault};

/// What watching needs.
#[derive(Clone)]
pub struct WatcherParts {
    pub store: Store,
    pub intake: Intake,
    pub registries: Registries,
    pub vault: Arc<Vault>,
    pub clock: Clock,
    pub signals: Signals,
    pub settings: Arc<WatcherSettings>,
}

/// What an administrator sets.
#[derive(Debug, Clone)]
pub struct WatcherSettings {
    /// Between two looks at an image.
    pub poll: Duration,
    /// The same for the images of single registries, by host.
    pub poll_of: HashMap<String, Duration>,
    /// How long a wave waits for more images to move.
    pub debounce: Duration,
    /// How many builds of a wave may be under way at once.
    pub at_once: u32,
}

impl WatcherSettings {
    fn poll_of(&self, registry: &str) -> Duration {
        self.poll_of.get(registry).copied().unwrap_or(self.poll)
    }
}

/// Works until `shutdown`.
pub async fn run(parts: WatcherParts, shutdown: CancellationToken) {
    tokio::join!(looks::run(&parts, &shutdown), waves::run(&parts, &shutdown));
}
