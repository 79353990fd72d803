//! The last phase: tags, given in the order of pushes, and the push to the registry, verified there.

use std::time::Duration;

use super::{
    attempt::Attempt,
    credentials,
    fault::{Fault, engine_fault},
    record,
};
use crate::{
    domain::{build::ErrorKind, ids::BuildId, image::ImageReference, progress::Progress, repository},
    engine::{BuiltImage, EngineError, RegistryAuth},
    registry::RegistryError,
    store::{PushedTag, TagClaim},
};

/// Pauses between tries while a registry fails; five tries in all, as on Docker Hub.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(9),
    Duration::from_secs(27),
];

/// How often a tag is asked for while another build is pushing it.
const ASK_AGAIN_EVERY: Duration = Duration::from_millis(300);

/// Gives the image its tags and pushes them. Answers the digest at the registry; `None` where nothing is to be pushed.
pub(super) async fn publish(attempt: &Attempt<'_>, image: &BuiltImage) -> Result<Option<String>, Fault> {
    let plan = &attempt.build.plan;
    let name =
        ImageReference::parse(&plan.image).map_err(|invalid| Fault::fails(ErrorKind::Registry, invalid.to_string()))?;
    let stored = attempt.credentials.registry(&name.registry);
    let is_pushed = repository::is_pushed(&plan.image, stored.is_some());
    let auth = match stored.filter(|_| is_pushed) {
        Some(stored) => Some(
            with_retries(attempt, "asking the registry", || async {
                credentials::for_push(attempt.parts, &name, stored)
                    .await
                    .map_err(PushFault::from)
            })
            .await?,
        ),
        None => None,
    };
    let image_bytes = record::image_bytes(attempt, image).await;
    let mut digest = None;
    let mut newer = None;
    let mut published = 0;
    for tag in &plan.tags {
        let target = name.with_tag(tag);
        if let Some(by) = claim(attempt, &name, tag).await? {
            attempt
                .progress
                .line(&format!("{target} is left alone: a newer build has it"));
            newer = Some(by);
            continue;
        }
        let mut pushed_digest = None;
        if is_pushed {
            let pushed = push(attempt, image, &target, auth.as_ref()).await?;
            digest.get_or_insert_with(|| pushed.clone());
            pushed_digest = Some(pushed);
        } else {
            attempt.parts.engine.tag(image, &target).await.map_err(engine_fault)?;
            attempt.progress.line(&format!(
                "{target} stays in the engine: no registry is configured for it"
            ));
        }
        let order = &attempt.build.push_order;
        attempt
            .parts
            .store
            .tag_pushed(
                attempt.lease,
                order,
                &PushedTag {
                    image: &name.name(),
                    tag,
                    digest: pushed_digest.as_deref(),
                    image_bytes,
                    at: attempt.parts.clock.now(),
                },
            )
            .await?;
        published += 1;
    }
    match newer {
        Some(by) if published == 0 => Err(Fault::Superseded { by }),
        _ => Ok(digest),
    }
}

/// Waits for the right to give a tag; answers the newer build that has it, if one has.
async fn claim(attempt: &Attempt<'_>, name: &ImageReference, tag: &str) -> Result<Option<BuildId>, Fault> {
    let mut told = false;
    loop {
        let now = attempt.parts.clock.now();
        let order = &attempt.build.push_order;
        match attempt
            .parts
            .store
            .claim_tag(attempt.lease, order, &name.name(), tag, now)
            .await?
        {
            TagClaim::Granted => return Ok(None),
            TagClaim::Newer(by) => return Ok(Some(by)),
            TagClaim::Busy(other) => {
                if !told {
                    attempt
                        .progress
                        .line(&format!("waiting: build {other} is pushing {tag}"));
                    told = true;
                }
            }
        }
        tokio::select! {
            () = attempt.stop.token().cancelled() => return Err(Fault::Stopped),
            () = tokio::time::sleep(ASK_AGAIN_EVERY) => {}
        }
    }
}

async fn push(
    attempt: &Attempt<'_>,
    image: &BuiltImage,
    target: &ImageReference,
    auth: Option<&RegistryAuth>,
) -> Result<String, Fault> {
    attempt.progress.line(&format!("pushing {target}"));
    let stored = attempt.credentials.registry(&target.registry);
    let parts = attempt.parts;
    let digest = with_retries(attempt, "pushing", || async {
        let pushed = parts
            .engine
            .push(image, target, auth, attempt.progress.as_ref(), attempt.stop.token())
            .await?;
        match parts.registries.digest(target, stored).await? {
            Some(found) if found == pushed => Ok(pushed),
            Some(found) => Err(PushFault::Passes(format!(
                "the registry has {found} under {target}, not {pushed}"
            ))),
            None => Err(PushFault::Passes(format!(
                "the registry does not have {target} after the push"
            ))),
        }
    })
    .await?;
    attempt.progress.line(&format!("pushed {target} as {digest}"));
    Ok(digest)
}

/// Why one try at the registry failed.
enum PushFault {
    /// Tried again.
    Passes(String),
    Final(Fault),
}

impl From<EngineError> for PushFault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Registry(message) => Self::Passes(message),
            other => Self::Final(engine_fault(other)),
        }
    }
}

impl From<RegistryError> for PushFault {
    fn from(error: RegistryError) -> Self {
        match error.retryable() {
            true => Self::Passes(error.to_string()),
            false => Self::Final(Fault::fails(ErrorKind::Registry, error.to_string())),
        }
    }
}

/// Tries until it works, is refused, or has failed as often as it may; with growing pauses.
async fn with_retries<T, F>(attempt: &Attempt<'_>, what: &str, mut once: impl FnMut() -> F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, PushFault>>,
{
    let mut pauses = PAUSES.iter();
    loop {
        let why = match once().await {
            Ok(done) => return Ok(done),
            Err(PushFault::Final(fault)) => return Err(fault),
            Err(PushFault::Passes(why)) => why,
        };
        let Some(pause) = pauses.next() else {
            let message = format!("{what} failed {} times, last: {why}", PAUSES.len() + 1);
            return Err(Fault::fails(ErrorKind::Registry, message));
        };
        attempt
            .progress
            .line(&format!("{why}; trying again in {} s", pause.as_secs()));
        tokio::select! {
            () = attempt.stop.token().cancelled() => return Err(Fault::Stopped),
            () = tokio::time::sleep(*pause) => {}
        }
    }
}
