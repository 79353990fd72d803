//! Whether the Docker Engine can be used. While it cannot, nothing is claimed: a build must not pay for it with an attempt.

use std::time::Duration;

use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

use super::pause;
use crate::{domain::engine_health::EngineHealth, engine::Engine};

const LOOK_EVERY: Duration = Duration::from_secs(5);

/// While the engine is away it is asked more often, so that builds start soon after it is back.
const LOOK_EVERY_WHILE_DOWN: Duration = Duration::from_secs(1);

pub(super) async fn watch(
    engine: Engine,
    (health, platform): (Sender<EngineHealth>, Sender<String>),
    shutdown: CancellationToken,
) {
    loop {
        let seen = match engine.ping().await {
            Ok(info) => {
                platform.send_if_modified(|known| {
                    let is_new = !info.platform.is_empty() && *known != info.platform;
                    if is_new {
                        *known = info.platform;
                    }
                    is_new
                });
                EngineHealth::Up(info.version)
            }
            Err(error) => EngineHealth::Down(error.to_string()),
        };
        let is_up = matches!(seen, EngineHealth::Up(_));
        health.send_if_modified(|last| {
            let changed = *last != seen;
            if changed {
                match &seen {
                    EngineHealth::Up(version) => tracing::info!(%version, "the Docker Engine answers"),
                    EngineHealth::Down(reason) => tracing::warn!(%reason, "the Docker Engine cannot be used"),
                    EngineHealth::Unknown => {}
                }
                *last = seen;
            }
            changed
        });
        if !pause(if is_up { LOOK_EVERY } else { LOOK_EVERY_WHILE_DOWN }, &shutdown).await {
            return;
        }
    }
}
