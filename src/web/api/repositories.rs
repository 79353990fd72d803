//! Repositories: list, read, create or replace, delete.

use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use secrecy::ExposeSecret;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    document::{self, RepositoryDocument, RepositoryInput},
    pagination::{List, Page, PageParameters},
    save::checked_change,
};
use crate::{
    domain::{
        access::Role,
        ids::{BuildId, RepositoryId},
        repository::{RepositoryName, check_name},
    },
    secrets,
    store::{NewRepository, SavedRepository},
    tokens,
    web::{
        Web,
        auth::{Caller, repository_for, visible_repository},
        json::StrictJson,
        parameters::{FromParameters, Parameters, Query, RepositoryPath, Segments},
        problem::{FieldError, Problem},
    },
};

/// How often a change is tried again when somebody else made or deleted the repository in between.
const ATTEMPTS: usize = 4;

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read, put, delete))
}

/// The repositories that the caller may see, newest first.
#[utoipa::path(get, path = "/api/v1/repositories", tag = "repositories",
    operation_id = "list_repositories", params(PageParameters), responses(
    (status = 200, body = List<RepositoryDocument>),
    (status = 401, body = Problem), (status = 422, body = Problem),
))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<List<RepositoryDocument>>, Problem> {
    let before = page.cursor.as_deref().map(RepositoryId::from);
    let fetched = web
        .store
        .repositories(&caller.sight(), before.as_ref(), page.fetch())
        .await?;
    let List { items, next_cursor } = page.cut(fetched, |repository| repository.id.as_str(), |repository| repository);
    let mut shown = Vec::with_capacity(items.len());
    for repository in items {
        shown.push(document::show(&web, &caller, repository, None).await?);
    }
    Ok(Json(List {
        items: shown,
        next_cursor,
    }))
}

/// A repository.
#[utoipa::path(get, path = "/api/v1/repositories/{namespace}/{name}", tag = "repositories",
    operation_id = "read_repository", params(RepositoryPath), responses(
    (status = 200, body = RepositoryDocument),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn read(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<Json<RepositoryDocument>, Problem> {
    let repository = visible_repository(&web, &caller, &name).await?;
    Ok(Json(document::show(&web, &caller, repository, None).await?))
}

/// The parameters of [`put`].
struct PutParameters {
    build: bool,
}

impl FromParameters for PutParameters {
    const NAMES: &'static [&'static str] = &["build"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            build: parameters.take_flag("build")?,
        })
    }
}

/// Creates a repository, or replaces what it says. Secrets that are left out stay.
#[utoipa::path(put, path = "/api/v1/repositories/{namespace}/{name}", tag = "repositories",
    operation_id = "put_repository", params(
        RepositoryPath,
        ("build" = Option<bool>, Query, description = "Start first builds, where there has been none"),
    ),
    request_body = RepositoryInput,
    responses(
        (status = 200, description = "Replaced", body = RepositoryDocument),
        (status = 201, description = "Created; `webhook.secret` is shown this once if it was made here",
            body = RepositoryDocument),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 409, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
    ))]
async fn put(
    State(web): State<Web>,
    caller: Caller,
    Segments((namespace, name)): Segments<(String, String)>,
    Query(parameters): Query<PutParameters>,
    body: StrictJson<RepositoryInput>,
) -> Result<impl IntoResponse, Problem> {
    caller.user()?;
    check_name(&namespace).map_err(|error| Problem::field("namespace", error.to_string()))?;
    let name = RepositoryName::new(&namespace, &name).map_err(|error| Problem::field("name", error.to_string()))?;
    let user = caller.may(&namespace, Role::Admin)?;
    let (saved, secret) = save(&web, &name, &body.checked()?).await?;
    let now = web.clock.now();
    web.store
        .record_contribution(&user.name, &saved.repository.id, now)
        .await?;
    if parameters.build && web.store.last_build(&saved.repository.id).await?.is_none() {
        // The answer holds a secret that is never shown again, so a first build that cannot be queued now does not
        // take its place; `last_build` shows that there is none, and the same request again tries again.
        if let Err(error) = web.intake.first_builds(&saved.repository, &user.name).await {
            tracing::warn!(%error, repository = %saved.repository.name, "failed to start the first builds");
        }
    }
    let status = match saved.created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let document = document::show(&web, &caller, saved.repository, secret).await?;
    Ok((status, Json(document)))
}

/// Saves a document; also answers the webhook's secret if it was made here.
async fn save(
    web: &Web,
    name: &RepositoryName,
    input: &RepositoryInput,
) -> Result<(SavedRepository, Option<String>), Problem> {
    for _ in 0..ATTEMPTS {
        let existing = web.store.repository_named(name).await?;
        let id = existing
            .as_ref()
            .map_or_else(RepositoryId::new, |repository| repository.id.clone());
        let change = checked_change(web, name, input, &id, existing.as_ref()).await?;
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
            let shown = saved.created && change.webhook_secret.is_none();
            return Ok((saved, shown.then(|| made.expose_secret().to_owned())));
        }
    }
    Err(Problem::conflict(
        "somebody else keeps creating and deleting this repository; try again",
    ))
}

/// Deletes a repository with its builds, logs and deliveries. Images that were pushed stay at their registry.
#[utoipa::path(delete, path = "/api/v1/repositories/{namespace}/{name}", tag = "repositories",
    operation_id = "delete_repository", params(RepositoryPath), responses(
    (status = 204, description = "Deleted"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn delete(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    let (repository, _) = repository_for(&web, &caller, &name, Role::Owner).await?;
    let builds = web.store.delete_repository(&repository.id).await?;
    web.signals.access_changed();
    // Whoever builds one of them finds its lease gone.
    web.signals.cancel_requested();
    web.signals.queue_changed();
    for build in builds.into_iter().map(BuildId::from) {
        web.logs.remove(&build).await;
        web.logs.hub().changed(&build);
    }
    Ok(StatusCode::NO_CONTENT)
}
