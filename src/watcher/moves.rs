//! From what an image stands for now to the wave that follows, if anybody stands on something else.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{WatcherParts, looks};
use crate::{
    domain::{
        image::ImageReference,
        platform::{canonical_platform, is_same_on},
    },
    store::{StoreError, WatchKey, WatchedImage, WaveMove},
};

/// A worker that was not seen for this long does not count.
const WORKER_GONE: TimeDelta = TimeDelta::days(1);

/// Makes a wave of a move, if it touches anybody whom no wave has dealt with.
pub(super) async fn follow(parts: &WatcherParts, image: &WatchedImage, digest: &str) -> Result<(), StoreError> {
    let outdated = parts.store.outdated_on(&image.key, digest).await?;
    let mut touched = false;
    let mut from = None;
    for outdated in &outdated {
        from = from.or_else(|| outdated.used.clone());
        touched = touched
            || touches(
                parts,
                &image.key,
                outdated.used.as_deref(),
                digest,
                outdated.platform.as_deref(),
            )
            .await?;
    }
    if !touched {
        return Ok(());
    }
    let moved = WaveMove {
        image: image.key.image.clone(),
        access: image.key.access.clone(),
        from: from.or_else(|| image.digest.clone().filter(|known| known != digest)),
        to: digest.to_owned(),
        parent: parts.store.pusher_of(&image.key.image, digest).await?,
        is_inner: false,
    };
    let pause = TimeDelta::from_std(parts.settings.debounce).unwrap_or_default();
    let wave = parts.store.add_move(&moved, pause, parts.clock.now()).await?;
    tracing::info!(image = moved.image, to = moved.to, %wave, "what stands on an image is to be built again");
    parts.signals.base_images_changed();
    Ok(())
}

/// Whether a new version differs from the one that was used, for the platform that is built for. What cannot be known is
/// taken for a difference.
pub(super) async fn touches(
    parts: &WatcherParts,
    key: &WatchKey,
    used: Option<&str>,
    now: &str,
    platform: Option<&str>,
) -> Result<bool, StoreError> {
    let Some(used) = used.filter(|used| *used != now) else {
        return Ok(used != Some(now));
    };
    let (Some(before), Some(after)) = (platforms(parts, key, used).await?, platforms(parts, key, now).await?) else {
        return Ok(true);
    };
    let ours: Vec<String> = match platform {
        Some(platform) => canonical_platform(platform).into_iter().collect(),
        None => parts.store.worker_platforms(parts.clock.now() - WORKER_GONE).await?,
    };
    Ok(!is_same_on(&ours, &before, &after))
}

/// The digests by platform of one version of an image; `None`: they cannot be had.
async fn platforms(
    parts: &WatcherParts,
    key: &WatchKey,
    digest: &str,
) -> Result<Option<BTreeMap<String, String>>, StoreError> {
    if let Some(known) = parts.store.platforms_of_version(key, digest).await? {
        return Ok(Some(known));
    }
    let Ok(reference) = ImageReference::parse(&key.image) else {
        return Ok(None);
    };
    let asked = match looks::credentials(parts, key, &reference.registry).await {
        Ok(credentials) => {
            parts
                .registries
                .platforms(&reference, digest, credentials.as_ref())
                .await
        }
        Err(error) => Err(error),
    };
    match asked {
        Ok(platforms) => {
            parts.store.record_platforms(key, digest, &platforms).await?;
            Ok(Some(platforms))
        }
        Err(error) => {
            tracing::debug!(%error, image = key.image, digest, "failed to ask for which platforms an image is");
            Ok(None)
        }
    }
}
