//! Where forges report pushes. In the order of the checks: 404, 413, 415, 401, 400, 403; and a 202 only when what it names is
//! on disk.

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Web,
    json::{content_length, read_body},
    parameters::{Query, Segments},
    problem::Problem,
};
use crate::{
    domain::{
        delivery::Outcome,
        ids::{BuildId, DeliveryId, HookId},
        repository::Provider,
    },
    intake::{Overloaded, Rejection, WebhookAnswer, WebhookError},
    store::Accepted,
};

/// What the path of every webhook begins with.
pub(super) const PREFIX: &str = "/webhooks/";

/// Largest body of a webhook, in bytes: GitHub's own limit.
const LARGEST_BODY: usize = 25 << 20;

/// Kibibytes of webhook bodies that may be in memory at once: whoever comes when it is full is asked to come back.
pub(super) const MEMORY_KIB: usize = 256 << 10;

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(receive))
}

/// What became of a webhook.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WebhookAnswer)]
pub struct WebhookDocument {
    /// Its id in the ledger; null where nothing was recorded.
    pub(super) delivery: Option<DeliveryId>,
    pub(super) outcome: Outcome,
    /// What it led to; for a duplicate, what the earlier one led to.
    pub(super) builds: Vec<BuildId>,
    pub(super) reason: String,
}

impl From<Accepted> for WebhookDocument {
    fn from(accepted: Accepted) -> Self {
        Self {
            delivery: Some(accepted.id),
            outcome: accepted.outcome,
            builds: accepted.builds,
            reason: accepted.reason,
        }
    }
}

/// Takes a webhook of a forge. The signature is checked before anything is parsed.
#[utoipa::path(post, path = "/webhooks/{provider}/{hook_id}", tag = "webhooks",
    operation_id = "receive_webhook", security(()),
    params(("provider" = Provider, Path, description = "Whose payload it is"), ("hook_id" = String, Path, description = "From the repository's `webhook.url`")),
    request_body(content = String, description = "The forge's payload, as it signed it", content_type = "application/json"),
    responses(
        (status = 200, description = "A connection test without a signature: not recorded", body = WebhookDocument),
        (status = 202, description = "Recorded, with the builds that it names", body = WebhookDocument),
        (status = 400, description = "Not parseable", body = Problem),
        (status = 401, description = "Wrong or missing signature", body = Problem),
        (status = 403, description = "About another repository", body = Problem),
        (status = 404, body = Problem), (status = 408, body = Problem),
        (status = 413, description = "Larger than 25 MiB", body = Problem),
        (status = 415, description = "An encoding that is not taken", body = Problem),
        (status = 422, description = "A parameter in the address", body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem),
    ))]
async fn receive(
    State(web): State<Web>,
    Segments((provider, hook)): Segments<(String, String)>,
    query: Result<Query<()>, Problem>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let provider = Provider::parse(&provider).ok_or(WebhookError::UnknownHook)?;
    let hook = web.intake.hook(provider, &HookId::from(hook)).await?;
    let Query(()) = query?;
    let _memory = reserve_memory(&web, &headers, LARGEST_BODY)?;
    let body = read_body(&headers, body, LARGEST_BODY).await?;
    match web.intake.webhook(hook, &headers, body).await? {
        WebhookAnswer::Recorded(accepted) => {
            web.metrics.webhook(provider.as_str(), accepted.outcome);
            Ok((StatusCode::ACCEPTED, Json(WebhookDocument::from(accepted))).into_response())
        }
        WebhookAnswer::UnsignedPing => {
            let ignored = WebhookDocument {
                delivery: None,
                outcome: Outcome::Ignored,
                builds: vec![],
                reason: "a connection test without a signature; nothing was recorded".to_owned(),
            };
            Ok(Json(ignored).into_response())
        }
    }
}

/// Room for a body, held until it has been dealt with. One that does not say its length counts as the `largest`.
pub(super) fn reserve_memory(
    web: &Web,
    headers: &HeaderMap,
    largest: usize,
) -> Result<tokio::sync::OwnedSemaphorePermit, Problem> {
    let bytes = content_length(headers).unwrap_or(largest).min(largest);
    let kibibytes = u32::try_from(bytes.div_ceil(1 << 10).max(1)).unwrap_or(u32::MAX);
    web.webhook_memory
        .clone()
        .try_acquire_many_owned(kibibytes)
        .map_err(|_| Overloaded::Full.into())
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let status = match error {
            WebhookError::UnknownHook => return Self::not_found("webhook"),
            WebhookError::Overloaded(overloaded) => return overloaded.into(),
            WebhookError::Secret => return Self::internal(&error),
            WebhookError::Rejected(Rejection::Encoding(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            WebhookError::Rejected(Rejection::Signature(_)) => StatusCode::UNAUTHORIZED,
            WebhookError::Rejected(Rejection::Malformed(_)) => StatusCode::BAD_REQUEST,
            WebhookError::OtherRepository(_) => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string())
    }
}
