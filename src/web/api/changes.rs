//! Making, changing and deleting repositories: what the API and the pages both do.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    document::{self, RepositoryInput},
    save::checked_change,
};
use crate::{
    domain::{
        audit::Action,
        ids::{BuildId, RepositoryId},
        repository::{Repository, RepositoryName, Source},
    },
    secrets,
    store::{Actor, NewRepository, RepositoryChange, Sight, SourceSecret},
    tokens,
    web::{Web, auth::Caller, problem::Problem},
};

/// How often a change is tried again when somebody else changed the repository in between.
const ATTEMPTS: usize = 4;

/// What must be there for a document to be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is stored is replaced.
    Anything,
    /// No repository of this name.
    Nothing,
    /// One that was last changed then.
    ChangedAt(DateTime<Utc>),
}

/// What saving did.
pub struct Saved {
    pub repository: Repository,
    pub created: bool,
    /// The webhook's secret, if it was made here.
    pub webhook_secret: Option<String>,
}

/// Saves a document: 422 with every field at fault, 409 where something else is stored than what was expected.
pub async fn save(
    web: &Web,
    actor: &Actor,
    name: &RepositoryName,
    input: &RepositoryInput,
    expected: Expected,
) -> Result<Saved, Problem> {
    let sight = sight_of(web, actor).await?;
    for _ in 0..ATTEMPTS {
        let existing = web.store.repository_named(name).await?;
        check_expected(expected, existing.as_ref())?;
        let id = existing
            .as_ref()
            .map_or_else(RepositoryId::new, |repository| repository.id.clone());
        let mut change = checked_change(web, &sight, name, input, (&id, existing.as_ref())).await?;
        if let Expected::ChangedAt(at) = expected {
            change.last_changed = Some(at);
        }
        let made = tokens::new_webhook_secret();
        let new = NewRepository {
            webhook_secret: web
                .vault
                .seal(&secrets::webhook_secret(id.as_str()), made.expose_secret()),
            id,
            hook_id: tokens::new_hook_id(),
            now: web.clock.now(),
        };
        let known = existing.as_ref().map(|repository| &repository.id);
        if let Some(saved) = web.store.put_repository(known, &new, &change).await? {
            // It may be private now.
            web.signals.access_changed();
            // It may stand on other images now.
            web.signals.base_images_changed();
            web.signals.schedules_changed();
            web.store
                .record_contribution(&actor.name, &saved.repository.id, new.now)
                .await?;
            note_saved(web, actor, existing.as_ref(), &saved.repository, &change).await;
            let is_made_here = saved.created && change.webhook_secret.is_none();
            return Ok(Saved {
                repository: saved.repository,
                created: saved.created,
                webhook_secret: is_made_here.then(|| made.expose_secret().to_owned()),
            });
        }
    }
    Err(Problem::conflict(
        "somebody else keeps changing this repository; try again",
    ))
}

/// What whoever changes something may see.
async fn sight_of(web: &Web, actor: &Actor) -> Result<Sight, Problem> {
    let user = web.store.user_named(&actor.name).await?;
    Ok(user.map_or(Sight::Public, |user| Caller::User(user).sight()))
}

/// Writes down what a change did, by the names of the fields; nothing where it did nothing.
async fn note_saved(
    web: &Web,
    actor: &Actor,
    before: Option<&Repository>,
    after: &Repository,
    change: &RepositoryChange,
) {
    let (name, namespace) = (after.name.to_string(), after.name.namespace());
    let Some(before) = before else {
        let detail = json!({ "visibility": after.visibility, "source": after.source.url });
        web.note(actor.did(Action::RepositoryCreated, name, namespace, detail))
            .await;
        return;
    };
    let changed = changed_fields(before, after);
    if !changed.is_empty() {
        let detail = json!({ "fields": changed });
        web.note(actor.did(Action::RepositoryChanged, name.clone(), namespace, detail))
            .await;
    }
    let replaced = replaced_secrets(before, change);
    if !replaced.is_empty() {
        let detail = json!({ "fields": replaced });
        web.note(actor.did(Action::SecretReplaced, name, namespace, detail))
            .await;
    }
}

fn changed_fields(before: &Repository, after: &Repository) -> Vec<&'static str> {
    let (old, new) = (&before.source, &after.source);
    let source = |source: &Source| {
        (
            source.provider,
            source.url.clone(),
            source.account.clone(),
            source.submodules,
        )
    };
    let fields = [
        ("visibility", before.visibility != after.visibility),
        ("description", before.description != after.description),
        ("image", before.image != after.image),
        ("source", source(old) != source(new)),
        ("rules", before.rules != after.rules),
        ("links", before.links != after.links),
        (
            "detect_base_images",
            before.detect_base_images != after.detect_base_images,
        ),
        (
            "ignored_base_images",
            before.ignored_base_images != after.ignored_base_images,
        ),
        ("limits", before.limits != after.limits),
    ];
    fields
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(name, _)| name)
        .collect()
}

fn replaced_secrets(before: &Repository, change: &RepositoryChange) -> Vec<&'static str> {
    let build_secrets = change.build_secrets.as_ref().is_some_and(|secrets| {
        secrets.len() != before.build_secrets.len() || secrets.iter().any(|(_, value)| value.is_some())
    });
    let fields = [
        ("source.webhook_secret", change.webhook_secret.is_some()),
        ("source.credentials", !matches!(change.credentials, SourceSecret::Keep)),
        ("build_secrets", build_secrets),
    ];
    fields
        .into_iter()
        .filter(|(_, replaced)| *replaced)
        .map(|(name, _)| name)
        .collect()
}

fn check_expected(expected: Expected, existing: Option<&Repository>) -> Result<(), Problem> {
    match (expected, existing) {
        (Expected::Anything, _) | (Expected::Nothing, None) => Ok(()),
        (Expected::Nothing, Some(repository)) => Err(Problem::field(
            "name",
            format!("`{}` exists already; choose another name", repository.name),
        )),
        (Expected::ChangedAt(_), None) => Err(Problem::not_found("repository")),
        (Expected::ChangedAt(at), Some(repository)) if repository.updated_at == at => Ok(()),
        (Expected::ChangedAt(_), Some(_)) => Err(Problem::conflict(
            "somebody else changed this repository in the meantime",
        )),
    }
}

/// Finds every fault that saving would find in a document, and saves nothing: 422.
pub async fn check(
    web: &Web,
    caller: &Caller,
    name: &RepositoryName,
    input: &RepositoryInput,
    existing: Option<&Repository>,
) -> Result<(), Problem> {
    let id = existing.map_or_else(RepositoryId::new, |repository| repository.id.clone());
    checked_change(web, &caller.sight(), name, input, (&id, existing))
        .await
        .map(drop)
}

/// A repository as a document that can be edited and saved again.
pub async fn document_of(web: &Web, caller: &Caller, repository: &Repository) -> Result<Value, Problem> {
    let document = document::show(web, caller, repository.clone(), None).await?;
    serde_json::to_value(document).map_err(|error| Problem::internal(&error))
}

/// Starts the first builds of a repository that has none yet.
///
/// A failure to queue them is logged and no more: what was saved is saved, with a secret that is shown this once, and
/// nobody finds builds that are not there.
pub async fn start_first_builds(web: &Web, repository: &Repository, user: &str) -> Result<(), Problem> {
    if web.store.last_build(&repository.id).await?.is_some() {
        return Ok(());
    }
    if let Err(error) = web.intake.first_builds(repository, user).await {
        tracing::warn!(%error, repository = %repository.name, "failed to start the first builds");
    }
    Ok(())
}

/// Deletes a repository with its builds, logs and deliveries.
pub async fn delete(web: &Web, actor: &Actor, repository: &Repository) -> Result<(), Problem> {
    let builds = web.store.delete_repository(&repository.id).await?;
    web.signals.access_changed();
    // Whoever builds one of them finds its lease gone.
    web.signals.cancel_requested();
    web.signals.queue_changed();
    for build in builds.into_iter().map(BuildId::from) {
        web.logs.remove(&build).await;
        web.logs.hub().changed(&build);
    }
    let (name, namespace) = (repository.name.to_string(), repository.name.namespace());
    web.note(actor.did(Action::RepositoryDeleted, name, namespace, json!({})))
        .await;
    Ok(())
}
