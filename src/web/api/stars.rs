//! Stars of repositories.

use axum::extract::State;
use http::StatusCode;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::web::{
    Web,
    auth::{Caller, visible_repository},
    parameters::{Query, RepositoryPath, Segments},
    problem::Problem,
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(star, unstar))
}

/// Stars a repository; one that is starred already stays so.
#[utoipa::path(put, path = "/api/v1/repositories/{namespace}/{name}/star", tag = "repositories",
    operation_id = "star_repository", params(RepositoryPath), responses(
    (status = 204, description = "Starred"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn star(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    let user = caller.unrestricted()?;
    let repository = visible_repository(&web, &caller, &name).await?;
    web.store.star(&user.id, &repository.id, web.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a star back; a repository without one stays so.
#[utoipa::path(delete, path = "/api/v1/repositories/{namespace}/{name}/star", tag = "repositories",
    operation_id = "unstar_repository", params(RepositoryPath), responses(
    (status = 204, description = "Not starred"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn unstar(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    let user = caller.unrestricted()?;
    let repository = visible_repository(&web, &caller, &name).await?;
    web.store.unstar(&user.id, &repository.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
