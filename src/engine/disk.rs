//! What the engine holds, and emptying it of what nobody uses: unused cache, and images of ours without a name. What runs
//! and what is not ours stays.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

use super::{
    Engine, EngineError,
    http::{query, request, within},
};
use crate::domain::disk::EngineUse;

/// Label on every image that a build here makes; its value is the repository.
pub const IMAGE_LABEL: &str = "io.hullworks.repository";

/// The engine counts every layer for it, and removes many files.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// `GET /system/df`, as far as it is needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SystemUse {
    #[serde(default)]
    layers_size: i64,
    #[serde(default)]
    images: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(default)]
    build_cache: Option<Vec<CacheRecord>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CacheRecord {
    #[serde(default)]
    size: i64,
    #[serde(default)]
    in_use: bool,
    /// Also counted as a layer of an image.
    #[serde(default)]
    shared: bool,
}

/// What `prune` answers, of cache and of images.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Pruned {
    #[serde(default)]
    space_reclaimed: i64,
}

impl Engine {
    /// What the engine holds.
    pub async fn disk_use(&self) -> Result<EngineUse, EngineError> {
        let asked = async {
            let answer = self.address.send(request(Method::GET, "/system/df")?).await?;
            answer.read_whole().await?.success()
        };
        let found: SystemUse = read(&within(PATIENCE, asked).await?.body)?;
        let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
        let records = found.build_cache.unwrap_or_default();
        let own = || records.iter().filter(|record| !record.shared);
        Ok(EngineUse {
            images: found.images.map_or(0, |images| images.len() as u64),
            image_bytes: bytes(found.layers_size),
            cache_bytes: own().map(|record| bytes(record.size)).sum(),
            idle_cache_bytes: own()
                .filter(|record| !record.in_use)
                .map(|record| bytes(record.size))
                .sum(),
        })
    }

    /// Removes cache that was not used for a day. Answers how many bytes it was.
    pub async fn prune_idle_cache(&self) -> Result<u64, EngineError> {
        let filters = r#"{"until":["24h"]}"#;
        self.prune(&query("/build/prune", [("all", "true"), ("filters", filters)]))
            .await
    }

    /// Removes images with [`IMAGE_LABEL`] that bear no name. Answers how many bytes it was.
    pub async fn prune_nameless_images(&self) -> Result<u64, EngineError> {
        let filters = format!(r#"{{"dangling":["true"],"label":["{IMAGE_LABEL}"]}}"#);
        self.prune(&query("/images/prune", [("filters", filters.as_str())]))
            .await
    }

    async fn prune(&self, path: &str) -> Result<u64, EngineError> {
        let asked = async {
            let answer = self.address.send(request(Method::POST, path)?).await?;
            answer.read_whole().await?.success()
        };
        let pruned: Pruned = read(&within(PATIENCE, asked).await?.body)?;
        Ok(u64::try_from(pruned.space_reclaimed).unwrap_or(0))
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, EngineError> {
    serde_json::from_slice(body)
        .map_err(|error| EngineError::Unavailable(format!("the engine's answer cannot be read: {error}")))
}
