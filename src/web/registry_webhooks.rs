//! Where registries report pushes. In the order of the checks: 404, 413, 415, 401, 400. A report is not recorded: it makes
//! watched images due, and the look at the registry is what counts.

use axum::{Json, body::Body, extract::State};
use http::{HeaderMap, StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    json::read_body,
    parameters::{Query, Segments},
    problem::Problem,
    webhooks::{WebhookDocument, reserve_memory},
};
use crate::domain::{delivery::Outcome, ids::HookId};

/// Largest body of a report, in bytes: a thousand events of distribution.
const LARGEST_BODY: usize = 1 << 20;

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(receive))
}

/// Takes a report of a registry (distribution, Docker Hub, Harbor, Quay, GitHub). `delivery` is null and `builds` empty:
/// `queued` says that watched images are looked at now, which starts builds if they moved.
#[utoipa::path(post, path = "/webhooks/registry/{hook_id}", tag = "webhooks",
    operation_id = "receive_registry_webhook", security(()),
    params(("hook_id" = String, Path, description = "From the registry's `webhook.url`")),
    request_body(content = String, description = "What the registry sends; with `Authorization: Bearer` and `webhook.secret` where it can send a header", content_type = "application/json"),
    responses(
        (status = 202, description = "Taken", body = WebhookDocument),
        (status = 400, description = "Not parseable", body = Problem),
        (status = 401, description = "A wrong secret", body = Problem),
        (status = 404, body = Problem), (status = 408, body = Problem),
        (status = 413, description = "Larger than 1 MiB", body = Problem),
        (status = 415, description = "An encoding that is not taken", body = Problem),
        (status = 422, description = "A parameter in the address", body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem),
    ))]
async fn receive(
    State(web): State<Web>,
    Segments(hook): Segments<String>,
    query: Result<Query<()>, Problem>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<WebhookDocument>), Problem> {
    let hook = web.intake.registry_hook(&HookId::from(hook)).await?;
    let Query(()) = query?;
    let _memory = reserve_memory(&web, &headers, LARGEST_BODY)?;
    let body = read_body(&headers, body, LARGEST_BODY).await?;
    let event = web.intake.registry_event(hook, &headers, &body).await?;
    let outcome = match event.due.is_empty() {
        true => Outcome::Ignored,
        false => Outcome::Queued,
    };
    web.metrics.webhook("registry", outcome);
    let document = WebhookDocument {
        delivery: None,
        outcome,
        builds: vec![],
        reason: event.reason,
    };
    Ok((StatusCode::ACCEPTED, Json(document)))
}
