//! Making, changing and deleting repositories: what the API and the pages both do.

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::{
    document::{self, RepositoryInput},
    save::checked_change,
};
use crate::{
    domain::{
        ids::{BuildId, RepositoryId},
        repository::{Repository, RepositoryName},
    },
    secrets,
    store::{NewRepository, User},
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
    user: &User,
    name: &RepositoryName,
    input: &RepositoryInput,
    expected: Expected,
) -> Result<Saved, Problem> {
    for _ in 0..ATTEMPTS {
        let existing = web.store.repository_named(name).await?;
        check_expected(expected, existing.as_ref())?;
        let id = existing
            .as_ref()
            .map_or_else(RepositoryId::new, |repository| repository.id.clone());
        let mut change = checked_change(web, name, input, &id, existing.as_ref()).await?;
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
        let existing = existing.as_ref().map(|repository| &repository.id);
        if let Some(saved) = web.store.put_repository(existing, &new, &change).await? {
            // It may be private now.
            web.signals.access_changed();
            web.store
                .record_contribution(&user.name, &saved.repository.id, new.now)
                .await?;
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
    name: &RepositoryName,
    input: &RepositoryInput,
    existing: Option<&Repository>,
) -> Result<(), Problem> {
    let id = existing.map_or_else(RepositoryId::new, |repository| repository.id.clone());
    checked_change(web, name, input, &id, existing).await.map(drop)
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
pub async fn delete(web: &Web, repository: &Repository) -> Result<(), Problem> {
    let builds = web.store.delete_repository(&repository.id).await?;
    web.signals.access_changed();
    // Whoever builds one of them finds its lease gone.
    web.signals.cancel_requested();
    web.signals.queue_changed();
    for build in builds.into_iter().map(BuildId::from) {
        web.logs.remove(&build).await;
        web.logs.hub().changed(&build);
    }
    Ok(())
}
