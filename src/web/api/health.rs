//! Whether the service is up, and whether it can do its work.

use std::{path::Path, time::Duration};

use axum::{Json, extract::State, response::IntoResponse};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::builds::alive_since;
use crate::{
    domain::engine_health::EngineHealth,
    web::{
        Web,
        base_images::count_outdated,
        metrics::{Format, Snapshot},
        parameters::Query,
        problem::{FieldError, Problem},
    },
};

/// With less room on the disk, in bytes, nothing more should be sent here.
const LEAST_FREE: u64 = 64 << 20;

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(render_metrics))
}

/// How the service is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Health {
    status: &'static str,
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health",
    operation_id = "healthz", security(()), responses((status = 200, body = Health)))]
async fn healthz(Query(()): Query<()>) -> Json<Health> {
    Json(Health { status: "up" })
}

/// Whether database, engine and disk can be used.
#[utoipa::path(get, path = "/readyz", tag = "health",
    operation_id = "readyz", security(()), responses(
    (status = 200, body = Health),
    (status = 503, description = "Something cannot be used; `errors` has the reasons", body = Problem),
))]
async fn readyz(State(web): State<Web>, Query(()): Query<()>) -> Result<Json<Health>, Problem> {
    let mut reasons = Vec::new();
    let mut note = |part: &str, problem: Option<String>| {
        reasons.extend(problem.map(|problem| FieldError::new(part, problem)));
    };
    note("database", database(&web).await);
    note("engine", engine(&web));
    note("disk", disk(&web.settings.data_dir).await);
    if reasons.is_empty() {
        return Ok(Json(Health { status: "ready" }));
    }
    let detail: Vec<String> = reasons
        .iter()
        .map(|reason| format!("{}: {}", reason.field, reason.message))
        .collect();
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail.join("; ")).with_errors(reasons))
}

/// The state of the service, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health",
    operation_id = "metrics", security(()), responses(
    (status = 200, description = "OpenMetrics where it is asked for",
        content((String = "text/plain"), (String = "application/openmetrics-text"))),
    (status = 503, body = Problem),
))]
async fn render_metrics(
    State(web): State<Web>,
    Query(()): Query<()>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let format = Format::accepted(&headers);
    let snapshot = Snapshot {
        builds: web.store.count_builds().await?,
        watched: web.store.watched_images().await?,
        outdated: count_outdated(&web).await?,
        open_waves: web.store.open_waves().await?.len(),
        workers: web.store.workers_since(alive_since(web.clock.now())).await?.len(),
        engine_up: matches!(*web.engine.borrow(), EngineHealth::Up(_)),
    };
    let text = web
        .metrics
        .render(&snapshot, format)
        .map_err(|error| Problem::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, format.media_type())], text))
}

async fn database(web: &Web) -> Option<String> {
    match tokio::time::timeout(CHECK_TIMEOUT, web.store.ping()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database does not answer");
            Some("it cannot be used".to_owned())
        }
        Err(_) => Some(format!("it does not answer within {} s", CHECK_TIMEOUT.as_secs())),
    }
}

fn engine(web: &Web) -> Option<String> {
    if !web.settings.builds_here {
        return None;
    }
    match &*web.engine.borrow() {
        EngineHealth::Up(_) => None,
        EngineHealth::Unknown => Some("it has not answered yet".to_owned()),
        EngineHealth::Down(reason) => Some(reason.clone()),
    }
}

async fn disk(data_dir: &Path) -> Option<String> {
    let path = data_dir.to_owned();
    let check = tokio::task::spawn_blocking(move || room_and_right_to_write(&path));
    match tokio::time::timeout(CHECK_TIMEOUT, check).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) | Err(_) => Some(format!("it does not answer within {} s", CHECK_TIMEOUT.as_secs())),
    }
}

fn room_and_right_to_write(data_dir: &Path) -> Option<String> {
    match rustix::fs::statvfs(data_dir) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            if free < LEAST_FREE {
                return Some(format!("only {} MiB are free", free >> 20));
            }
        }
        Err(error) => return Some(format!("the data directory cannot be looked at: {error}")),
    }
    tempfile::tempfile_in(data_dir)
        .err()
        .map(|error| format!("the data directory cannot be written to: {error}"))
}
