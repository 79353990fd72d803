//! Looks at registries: each image in its turn, each registry at its pace, many at once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{WatcherParts, moves, pace::Pace};
use crate::{
    domain::image::ImageReference,
    registry::{Allowance, Found, Look, RegistryCredentials, RegistryError},
    secrets,
    store::{Sighting, StoreError, WatchKey, WatchedImage},
};

/// How long to wait without being told anything: another process may have built on a new image.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Least time from one pass to the next: what changes in between is dealt with together.
const BREATH: Duration = Duration::from_millis(50);

/// Images taken up in one pass.
const AT_ONCE: u32 = 64;

/// Looks under way at once.
const MOST_LOOKS: usize = 16;

/// Time from one question to a registry to the next.
const SPACING: Duration = Duration::from_millis(10);

/// So long a look waits for its turn at its registry; one that would wait longer is put off.
const SHORT: Duration = Duration::from_secs(1);

/// For as long an image is left to whoever took the look at it; longer than any look takes.
const LOOK_WITHIN: Duration = Duration::from_secs(120);

/// How much intervals differ, so that images that were first seen together are not always asked for together.
const JITTER: f64 = 0.1;

pub(super) async fn run(parts: &WatcherParts, shutdown: &CancellationToken) {
    let pace = Mutex::new(Pace::new(SPACING, rand::random));
    let mut looks = JoinSet::new();
    let mut is_told = true;
    let mut changed = Box::pin(parts.signals.on_base_image_change(LOOK_EVERY));
    loop {
        if is_told {
            // Before the pass, so that what changes while it looks is not missed.
            changed.set(parts.signals.on_base_image_change(LOOK_EVERY));
        }
        let next = match pass(parts, &pace, &mut looks, is_told).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "failed to see which images are to be looked at");
                LOOK_EVERY
            }
        };
        is_told = false;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = &mut changed => is_told = true,
            () = tokio::time::sleep(next) => {}
            Some(ended) = looks.join_next() => note(parts, &pace, ended),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(BREATH) => {}
        }
    }
}

/// What a look tells of its registry.
struct Told {
    registry: String,
    answer: Result<Option<Allowance>, Option<Duration>>,
}

/// Starts the looks that are due. Answers how long until the next is. `is_told`: what is to be watched may have changed.
async fn pass(
    parts: &WatcherParts,
    pace: &Mutex<Pace>,
    looks: &mut JoinSet<Told>,
    is_told: bool,
) -> Result<Duration, StoreError> {
    while let Some(ended) = looks.try_join_next() {
        note(parts, pace, ended);
    }
    let now = parts.clock.now();
    if is_told {
        parts.store.watch_what_is_stood_on(now).await?;
    }
    for image in parts.store.images_due(now, AT_ONCE).await? {
        if looks.len() >= MOST_LOOKS {
            return Ok(LOOK_EVERY);
        }
        let wait = turn(pace, &image.registry, now);
        if wait > SHORT {
            parts.store.put_off_look(&image, now + wait).await?;
        } else if parts.store.take_look(&image, now, LOOK_WITHIN).await? {
            let parts = parts.clone();
            looks.spawn(async move {
                tokio::time::sleep(wait).await;
                look_at(parts, image, now + LOOK_WITHIN).await
            });
        }
    }
    let next = parts.store.next_image_due().await?;
    Ok(next.map_or(LOOK_EVERY, |next| {
        (next - parts.clock.now()).to_std().unwrap_or_default().min(LOOK_EVERY)
    }))
}

/// How long until a registry may be asked; where that is soon, the turn is taken.
fn turn(pace: &Mutex<Pace>, registry: &str, now: DateTime<Utc>) -> Duration {
    let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = pace.due(registry, now);
    if wait <= SHORT {
        pace.started(registry, now);
    }
    wait
}

fn note(parts: &WatcherParts, pace: &Mutex<Pace>, ended: Result<Told, JoinError>) {
    let now = parts.clock.now();
    let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
    match ended {
        Ok(Told {
            registry,
            answer: Ok(allowance),
        }) => pace.succeeded(&registry, allowance, now),
        Ok(Told {
            registry,
            answer: Err(retry_after),
        }) => pace.failed(&registry, retry_after, now),
        Err(error) => tracing::error!(%error, "a look at an image ended by a bug; it is looked at again later"),
    }
}

/// One look, and what follows from it.
async fn look_at(parts: WatcherParts, image: WatchedImage, taken_until: DateTime<Utc>) -> Told {
    let answer = ask(&parts, &image).await;
    let (sighting, told) = match answer {
        Ok(Look { found, allowance }) => {
            let sighting = match (found, &image.digest) {
                (Found::Digest(digest), _) => Sighting::Digest(digest),
                (Found::Unchanged, Some(known)) => Sighting::Digest(known.clone()),
                (Found::Unchanged, None) => {
                    Sighting::Failed("the registry says that nothing changed, but nothing was known".to_owned())
                }
                (Found::Gone, _) => Sighting::Gone,
            };
            (sighting, Ok(allowance))
        }
        Err(error) => {
            let told = match &error {
                // The registry itself is well: it is about this image, or its credentials.
                RegistryError::Refused(_) | RegistryError::UntrustedRealm { .. } | RegistryError::Malformed(_) => {
                    Ok(None)
                }
                _ => Err(error.retry_after()),
            };
            tracing::debug!(%error, image = image.key.image, "failed to look at an image");
            (Sighting::Failed(error.to_string()), told)
        }
    };
    if let Err(error) = record(&parts, &image, &sighting, taken_until).await {
        // The look is taken again when its time is over.
        tracing::warn!(%error, image = image.key.image, "failed to record what an image stands for");
    }
    Told {
        registry: image.registry,
        answer: told,
    }
}

async fn record(
    parts: &WatcherParts,
    image: &WatchedImage,
    sighting: &Sighting,
    taken_until: DateTime<Utc>,
) -> Result<(), StoreError> {
    let poll = parts.settings.poll_of(&image.registry);
    let again_at = parts.clock.now() + poll.mul_f64(1.0 - JITTER + 2.0 * JITTER * rand::random::<f64>());
    let now = parts.clock.now();
    parts
        .store
        .image_seen(&image.key, sighting, (taken_until, again_at), now)
        .await?;
    if let Sighting::Digest(digest) = sighting {
        if image.digest.as_ref() != Some(digest) {
            tracing::info!(
                image = image.key.image,
                from = image.digest,
                to = digest,
                "an image has a new version"
            );
        }
        moves::follow(parts, image, digest).await?;
    }
    Ok(())
}

async fn ask(parts: &WatcherParts, image: &WatchedImage) -> Result<Look, RegistryError> {
    let reference =
        ImageReference::parse(&image.key.image).map_err(|invalid| RegistryError::Malformed(invalid.to_string()))?;
    let credentials = credentials(parts, &image.key, &image.registry).await?;
    parts
        .registries
        .look(&reference, image.digest.as_deref(), credentials.as_ref())
        .await
}

/// The credentials by which an image is looked at.
pub(super) async fn credentials(
    parts: &WatcherParts,
    key: &WatchKey,
    registry: &str,
) -> Result<Option<RegistryCredentials>, RegistryError> {
    let unusable = |error: &dyn std::fmt::Display| {
        RegistryError::Refused(format!("the stored credentials cannot be used: {error}"))
    };
    let stored = parts
        .store
        .registry(&key.access, registry)
        .await
        .map_err(|error| unusable(&error))?;
    let Some(stored) = stored else { return Ok(None) };
    let password = parts
        .vault
        .open(&secrets::registry_password(stored.id.as_str()), &stored.sealed_password)
        .map_err(|error| unusable(&error))?;
    Ok(Some(RegistryCredentials {
        username: stored.username,
        password,
        trusted_realms: stored.trusted_realms,
    }))
}
