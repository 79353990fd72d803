//! Repositories: list, read, create or replace, delete.

use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    changes::{self, Expected, save, start_first_builds},
    document::{self, RepositoryDocument, RepositoryInput},
    pagination::{List, Page, PageParameters},
};
use crate::{
    domain::{
        access::Role,
        ids::RepositoryId,
        repository::{RepositoryName, check_name},
    },
    web::{
        Web,
        audit::Origin,
        auth::{Caller, repository_for, visible_repository},
        json::StrictJson,
        parameters::{FromParameters, Parameters, Query, RepositoryPath, Segments},
        problem::{FieldError, Problem},
    },
};

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
    origin: Origin,
    Segments((namespace, name)): Segments<(String, String)>,
    Query(parameters): Query<PutParameters>,
    body: StrictJson<RepositoryInput>,
) -> Result<impl IntoResponse, Problem> {
    caller.user()?;
    check_name(&namespace).map_err(|error| Problem::field("namespace", error.to_string()))?;
    let name = RepositoryName::new(&namespace, &name).map_err(|error| Problem::field("name", error.to_string()))?;
    let user = caller.may(&namespace, Role::Admin)?;
    let actor = origin.actor(&user.name);
    let saved = save(&web, &actor, &name, &body.checked()?, Expected::Anything).await?;
    if parameters.build {
        start_first_builds(&web, &saved.repository, &user.name).await?;
    }
    let status = match saved.created {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    let document = document::show(&web, &caller, saved.repository, saved.webhook_secret).await?;
    Ok((status, Json(document)))
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
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    let (repository, user) = repository_for(&web, &caller, &name, Role::Owner).await?;
    changes::delete(&web, &origin.actor(&user.name), &repository).await?;
    Ok(StatusCode::NO_CONTENT)
}
