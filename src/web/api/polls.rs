//! How a source is watched: by webhooks, by looking at it, or both.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{access::Role, polling::PollPace, repository::Repository},
    web::{
        Web,
        auth::{Caller, repository_for, visible_repository},
        parameters::{Query, RepositoryPath, Segments},
        problem::Problem,
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(read_poll, poll))
}

/// How a source is watched.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Watching {
    /// Whether a webhook has come lately.
    pub by_webhook: bool,
    /// Whether the source is looked at for pushes that no webhook told of: if looks are switched on, and a rule builds by
    /// itself.
    pub is_looked_at: bool,
    /// The time between two looks.
    pub every_seconds: u64,
    pub last_look_at: Option<DateTime<Utc>>,
    /// When the next look is due.
    pub next_look_at: Option<DateTime<Utc>>,
    /// What went wrong with the last look; only for those who may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a repository's source is watched, as the caller may know it.
pub async fn watching(web: &Web, caller: &Caller, repository: &Repository) -> Result<Watching, Problem> {
    let now = web.clock.now();
    let pace = web.settings.poll_pace;
    let is_looked_at = pace.is_on() && repository.rules.iter().any(|rule| rule.autobuild);
    let may_write = caller.has_role(repository.name.namespace(), Role::Write);
    let state = web.store.poll_state(&repository.id).await?;
    let last_webhook = state.as_ref().and_then(|state| state.last_webhook);
    Ok(Watching {
        by_webhook: PollPace::has_webhook(last_webhook, now),
        is_looked_at,
        every_seconds: pace.between(last_webhook, now).as_secs(),
        last_look_at: state.as_ref().and_then(|state| state.last_at),
        next_look_at: state.as_ref().map(|state| state.next_at).filter(|_| is_looked_at),
        problem: state.and_then(|state| state.problem).filter(|_| may_write),
    })
}

/// Has a source looked at now. 409 where no source is.
pub async fn ask_for_poll(web: &Web, repository: &Repository) -> Result<(), Problem> {
    if !web.settings.poll_pace.is_on() {
        return Err(Problem::conflict("looks at sources are switched off on this server"));
    }
    Ok(web.store.ask_for_poll(&repository.id, web.clock.now()).await?)
}

/// How a repository's source is watched.
#[utoipa::path(get, path = "/api/v1/repositories/{namespace}/{name}/poll", tag = "repositories",
    operation_id = "read_poll", params(RepositoryPath), responses(
    (status = 200, body = Watching),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn read_poll(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<Json<Watching>, Problem> {
    let repository = visible_repository(&web, &caller, &name).await?;
    Ok(Json(watching(&web, &caller, &repository).await?))
}

/// Has the source looked at within seconds, for pushes that no webhook told of.
#[utoipa::path(post, path = "/api/v1/repositories/{namespace}/{name}/poll", tag = "repositories",
    operation_id = "poll_repository", params(RepositoryPath), responses(
    (status = 202, description = "The look is due now", body = Watching),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, body = Problem), (status = 422, body = Problem),
))]
async fn poll(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<(StatusCode, Json<Watching>), Problem> {
    let (repository, _) = repository_for(&web, &caller, &name, Role::Write).await?;
    ask_for_poll(&web, &repository).await?;
    Ok((StatusCode::ACCEPTED, Json(watching(&web, &caller, &repository).await?)))
}
