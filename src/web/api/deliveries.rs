//! The ledger: every webhook, poll and click, with what became of it and why; and taking a webhook once more.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    builds::Empty,
    pagination::{List, Page, PageParameters},
};
use crate::{
    domain::{
        access::Role,
        audit::Action,
        delivery::Outcome,
        ids::{BuildId, DeliveryId},
        repository::Repository,
    },
    store::{Accepted, Actor, Delivery, DeliveryFilter},
    web::{
        Web,
        audit::Origin,
        auth::{Caller, repository_for},
        json::StrictJson,
        parameters::{FromParameters, IdPath, Parameters, Query, RepositoryPath, Segments},
        problem::{FieldError, Problem},
        webhooks::WebhookDocument,
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(replay))
}

/// One entry of the ledger.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Delivery)]
struct DeliveryDocument {
    id: DeliveryId,
    /// The forge's own id; null for polls, clicks and replays.
    delivery_id: Option<String>,
    /// A forge, or `api` for clicks.
    provider: String,
    event: String,
    received_at: DateTime<Utc>,
    /// Of the first ref that it names.
    source_name: Option<String>,
    commit: Option<String>,
    outcome: Outcome,
    reason: String,
    builds: Vec<BuildId>,
}

impl From<Delivery> for DeliveryDocument {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            delivery_id: delivery.delivery_id,
            provider: delivery.provider,
            event: delivery.event,
            received_at: delivery.received_at,
            source_name: delivery.source_name,
            commit: delivery.commit,
            outcome: delivery.outcome,
            reason: delivery.reason,
            builds: delivery.builds,
        }
    }
}

/// The parameters of [`list`].
struct ListParameters {
    page: Page,
    outcome: Option<Outcome>,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["outcome", "limit", "cursor"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            outcome: take_outcome(parameters)?,
            page: Page::take_from(parameters)?,
        })
    }
}

/// The outcome that a list is narrowed to.
pub fn take_outcome(parameters: &mut Parameters) -> Result<Option<Outcome>, FieldError> {
    parameters.take_word("outcome", "outcome", Outcome::parse, Outcome::ALL.map(Outcome::as_str))
}

/// The deliveries of a repository, newest first.
#[utoipa::path(get, path = "/api/v1/repositories/{namespace}/{name}/deliveries", tag = "deliveries",
    operation_id = "list_deliveries", params(
        RepositoryPath, PageParameters,
        ("outcome" = Option<Outcome>, Query, description = "Only those that led to this"),
    ), responses(
    (status = 200, body = List<DeliveryDocument>),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(ListParameters { page, outcome }): Query<ListParameters>,
) -> Result<Json<List<DeliveryDocument>>, Problem> {
    let (repository, _) = repository_for(&web, &caller, &name, Role::Write).await?;
    let filter = DeliveryFilter {
        outcome,
        before: page.cursor.as_deref().map(DeliveryId::from),
        after: None,
        limit: page.fetch(),
    };
    let fetched = web.store.deliveries(&repository.id, &filter).await?;
    Ok(Json(page.cut(
        fetched,
        |delivery| delivery.id.as_str(),
        DeliveryDocument::from,
    )))
}

/// Takes a webhook once more, under the rules as they are now.
#[utoipa::path(post, path = "/api/v1/repositories/{namespace}/{name}/deliveries/{id}/replay", tag = "deliveries",
    operation_id = "replay_delivery", params(RepositoryPath, IdPath),
    request_body(content = Empty, description = "May be left out"), responses(
    (status = 202, body = WebhookDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "It has no body to take once more", body = Problem),
    (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
))]
async fn replay(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments((namespace, name, id)): Segments<(String, String, String)>,
    Query(()): Query<()>,
    body: StrictJson<Empty>,
) -> Result<(StatusCode, Json<WebhookDocument>), Problem> {
    let (repository, user) = repository_for(&web, &caller, &(namespace, name), Role::Write).await?;
    let Empty {} = body.checked()?;
    let accepted = replay_delivery(&web, &repository, &DeliveryId::from(id), origin.actor(&user.name)).await?;
    Ok((StatusCode::ACCEPTED, Json(WebhookDocument::from(accepted))))
}

/// Takes a webhook once more. 409 if it has no body of its own.
pub async fn replay_delivery(
    web: &Web,
    repository: &Repository,
    id: &DeliveryId,
    actor: Actor,
) -> Result<Accepted, Problem> {
    let found = web.store.delivery(&repository.id, id).await?;
    let (delivery, body) = found.ok_or_else(|| Problem::not_found("delivery"))?;
    let body = body.ok_or_else(|| {
        Problem::conflict(
            "this delivery has no body of its own: it was a click, or repeats an earlier one; replay that",
        )
    })?;
    let accepted = web.intake.replay(repository, &delivery, body).await?;
    let (name, namespace) = (repository.name.to_string(), repository.name.namespace());
    let detail = json!({ "delivery": delivery.id });
    web.note(actor.did(Action::DeliveryReplayed, name, namespace, detail))
        .await;
    Ok(accepted)
}
