//! What engine it is, and whether it is still there.

use std::time::Duration;

use hyper::Method;
use tokio::time::sleep;

use super::{
    Engine, EngineError,
    client::soon,
    http::{Address, request, within},
};
use crate::domain::platform::canonical_platform;

/// An answer to this costs an engine nothing.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks at an engine that is building.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// So many looks in a row must fail before a build is given up: an engine under load may miss one.
const LOOKS: usize = 3;

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `20.10.24`
    pub version: String,
    /// `1.41`
    pub api_version: String,
    /// Whether builds can go through BuildKit.
    pub buildkit: bool,
    /// What it runs on, and builds for by itself: `linux/amd64`; empty where it does not say.
    pub platform: String,
}

impl Engine {
    /// Asks the engine what it is. Takes five seconds at most.
    pub async fn ping(&self) -> Result<EngineInfo, EngineError> {
        within(PING_TIMEOUT, self.look()).await
    }

    async fn look(&self) -> Result<EngineInfo, EngineError> {
        // Which builder an engine prefers stands in the head of this answer alone, which `bollard` does not show.
        let answer = self
            .address
            .send(request(Method::GET, "/_ping")?)
            .await?
            .read_whole()
            .await?
            .success()?;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let version = self
            .address
            .ask(|docker| async move { docker.version().await })
            .await??;
        let platform = match (version.os, version.arch) {
            (Some(os), Some(arch)) => canonical_platform(&format!("{os}/{arch}")).unwrap_or_default(),
            _ => String::new(),
        };
        let (Some(version), Some(api_version)) = (version.version, version.api_version) else {
            return Err(EngineError::Unavailable(
                "the engine does not say its version".to_owned(),
            ));
        };
        // An engine that leaves the builder's version out has BuildKit since interface 1.39. Podman takes BuildKit's
        // parameters and ignores them.
        let buildkit = header("libpod-api-version").is_none()
            && match header("builder-version") {
                Some("2") => true,
                Some("1") => false,
                _ => is_at_least(&api_version, (1, 39)) && header("ostype") != Some("windows"),
            };
        Ok(EngineInfo {
            version,
            api_version,
            buildkit,
            platform,
        })
    }
}

/// Returns when the engine has not answered for a while. Meant to be raced against what waits for the engine.
pub(super) async fn gone(address: &Address) -> EngineError {
    let mut misses = 0;
    loop {
        sleep(LOOK_EVERY).await;
        let look = address.ask(|docker| async move { docker.ping().await });
        match soon(PING_TIMEOUT, look).await {
            Ok(_) => misses = 0,
            Err(error) => {
                misses += 1;
                if misses == LOOKS {
                    return EngineError::Unavailable(format!("the engine no longer answers: {error}"));
                }
            }
        }
    }
}

fn is_at_least(version: &str, (major, minor): (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) >= (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_at_least("1.41", (1, 39)) && is_at_least("2.0", (1, 39)) && is_at_least("1.100", (1, 39)));
        assert!(!is_at_least("1.9", (1, 39)) && !is_at_least("", (1, 39)) && !is_at_least("x.y", (1, 39)));
    }
}
