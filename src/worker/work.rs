//! The work of one attempt: fetch, build, push.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, SecondsFormat};

use super::{
    attempt::Attempt,
    fault::{Fault, engine_fault},
    fetch, filter, publish, record,
};
use crate::{
    domain::{
        build::{Ending, ErrorKind, Phase},
        context::BuildContext,
        event::kept_message,
        progress::Progress,
        repository::Repository,
    },
    engine::{BuildSpec, BuiltImage, EngineError, IMAGE_LABEL},
    source::Checkout,
    store::Build,
};

/// Fetch, build, push.
pub(super) async fn work(attempt: &Attempt<'_>) -> Result<Ending, Fault> {
    let Attempt {
        parts, lease, progress, ..
    } = attempt;
    if lease.attempt() > 1 {
        progress.line(&format!("attempt {}", lease.attempt()));
    }
    let checkout = fetch::fetch(attempt).await?;
    parts
        .store
        .set_commit(lease, checkout.commit(), &kept_message(checkout.message()))
        .await?;
    if let Some(reason) = filter::needless(attempt, &checkout).await? {
        return Ok(Ending::Skipped { reason });
    }
    parts.store.set_phase(lease, Phase::Build).await?;
    parts.signals.build_got_on();
    let image = build_image(attempt, &checkout).await?;
    progress.line(&format!("built {}", image.id()));
    parts.store.set_phase(lease, Phase::Push).await?;
    parts.signals.build_got_on();
    let published = publish::publish(attempt, &image).await;
    // Without its temporary name an image that got no other goes away; if this fails, a sweep does it later.
    if let Err(error) = parts.engine.forget(&image).await {
        tracing::debug!(%error, build = %attempt.build.id, "failed to forget the temporary name of an image");
    }
    let digest = published?;
    record::documents(attempt, &checkout).await?;
    Ok(Ending::Succeeded { digest })
}

async fn build_image(attempt: &Attempt<'_>, checkout: &Checkout) -> Result<BuiltImage, Fault> {
    let Attempt {
        parts,
        build,
        repository,
        credentials,
        progress,
        stop,
        ..
    } = attempt;
    let plan = &build.plan;
    let context = checkout
        .context(&plan.dockerfile, &plan.context)
        .map_err(|error| Fault::fails(ErrorKind::Dockerfile, error.to_string()))?;
    let mut spec = BuildSpec {
        build_id: build.id.to_string(),
        tags: vec![],
        build_args: build_args(build, checkout),
        labels: labels(build, repository, checkout),
        target: Some(plan.target.clone()).filter(|target| !target.is_empty()),
        platform: plan.platforms.first().cloned(),
        no_cache: !plan.cache,
        pull: true,
        base_digests: plan.base_digests.clone(),
        builder: parts.settings.builder,
        memory_bytes: repository.limits.memory_bytes,
        cpu_thousandths: repository.limits.cpu_thousandths,
        secrets: credentials.build_secrets.clone(),
        registry_auths: credentials.usable_registries(parts, progress.as_ref()).await,
        shared_key: format!("{}:{}", repository.id, plan.context),
        allowed_frontends: parts.settings.allowed_frontends.clone(),
    };
    let context: Arc<dyn BuildContext> = Arc::new(context);
    let shared: Arc<dyn Progress> = (*progress).clone();
    match parts
        .engine
        .build(&spec, context.clone(), shared.clone(), stop.token())
        .await
    {
        // A base image that only this engine has cannot be pulled: what it has is built on then.
        Err(EngineError::Refused(why) | EngineError::Registry(why)) => {
            progress.line(&format!("{why}; going on with the base images that the engine has"));
            spec.pull = false;
            parts
                .engine
                .build(&spec, context, shared, stop.token())
                .await
                .map_err(engine_fault)
        }
        built => built.map_err(engine_fault),
    }
}

/// What Docker Hub's hooks know by these names, for the `ARG`s that ask for it, and the rule's own values, which win.
///
/// `SOURCE_DATE_EPOCH` is the commit's time, as <https://reproducible-builds.org/specs/source-date-epoch/> has it: newer
/// versions of BuildKit date the image by it, and steps that ask for it what they make.
fn build_args(build: &Build, checkout: &Checkout) -> BTreeMap<String, String> {
    let plan = &build.plan;
    let mut args: BTreeMap<String, String> = [
        ("SOURCE_BRANCH", build.source_name.clone()),
        ("SOURCE_COMMIT", checkout.commit().to_owned()),
        ("DOCKER_REPO", plan.image.clone()),
        ("DOCKER_TAG", plan.tags.join(",")),
        ("SOURCE_DATE_EPOCH", checkout.committed_at().to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    args.extend(plan.build_args.clone());
    args
}

/// The OCI annotations that say where an image came from, by the OCI image specification's pre-defined keys.
///
/// `created` is the commit's time, as reproducible builds have it (`SOURCE_DATE_EPOCH`): the same commit on the same base
/// gives the same image, so that a rebuild which changes nothing moves no tag.
fn labels(build: &Build, repository: &Repository, checkout: &Checkout) -> BTreeMap<String, String> {
    let created = DateTime::from_timestamp(checkout.committed_at(), 0).unwrap_or(build.queued_at);
    let version = build.plan.tags.first().cloned().unwrap_or_default();
    [
        ("org.opencontainers.image.revision", checkout.commit().to_owned()),
        ("org.opencontainers.image.source", repository.source.url.clone()),
        (
            "org.opencontainers.image.created",
            created.to_rfc3339_opts(SecondsFormat::Secs, true),
        ),
        ("org.opencontainers.image.version", version),
        (IMAGE_LABEL, repository.name.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
