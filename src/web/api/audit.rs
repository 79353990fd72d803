//! The audit log, for administrators.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::pagination::{List, Page, PageParameters};
use crate::{
    domain::{
        audit::{Action, By},
        ids::AuditId,
    },
    store::{AuditEntry, AuditFilter},
    web::{
        Web,
        auth::Caller,
        parameters::{FromParameters, Parameters, Query},
        problem::{FieldError, Problem},
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Who did what.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
struct AuditDocument {
    id: AuditId,
    at: DateTime<Utc>,
    /// A user's name; of a failed sign-in what was given for one.
    actor: String,
    by: By,
    action: Action,
    /// What it was done to: a name.
    subject: String,
    /// Null: it concerns the whole server.
    namespace: Option<String>,
    /// What else is to be known, such as `{"fields": ["rules"]}`.
    #[schema(value_type = Object)]
    detail: Value,
    /// Null where it is not known.
    address: Option<String>,
}

impl From<AuditEntry> for AuditDocument {
    fn from(entry: AuditEntry) -> Self {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let AuditEntry { id, event } = entry;
        Self {
            id,
            at: event.actor.at,
            actor: event.actor.name,
            by: event.actor.by,
            action: event.action,
            subject: event.subject,
            namespace: some(event.namespace),
            detail: event.detail,
            address: some(event.actor.address),
        }
    }
}

/// The parameters of [`list`].
struct ListParameters {
    page: Page,
    filter: AuditFilter,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["actor", "action", "subject", "namespace", "limit", "cursor"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let action = match parameters.take("action")? {
            None => None,
            Some(text) => Some(Action::parse(&text).ok_or_else(|| {
                let known: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
                FieldError::new("action", format!("there are: {}", known.join(", ")))
            })?),
        };
        let mut text = |name: &str| match parameters.take(name)? {
            Some(text) if text.contains('\0') => Err(FieldError::new(name, "a NUL character cannot be part of it")),
            text => Ok(text),
        };
        let filter = AuditFilter {
            actor: text("actor")?,
            action,
            subject: text("subject")?,
            namespace: text("namespace")?,
            ..AuditFilter::default()
        };
        let page = Page::take_from(parameters)?;
        let filter = AuditFilter {
            before: page.cursor.as_deref().map(AuditId::from),
            limit: page.fetch(),
            ..filter
        };
        Ok(Self { page, filter })
    }
}

/// Who did what, newest first; for administrators.
#[utoipa::path(get, path = "/api/v1/audit", tag = "administration",
    operation_id = "list_audit", params(
        PageParameters,
        ("actor" = Option<String>, Query, description = "Only what this user did"),
        ("action" = Option<Action>, Query, description = "Only this"),
        ("subject" = Option<String>, Query, description = "Only what was done to this"),
        ("namespace" = Option<String>, Query, description = "Only what concerns this namespace; empty: the whole server"),
    ),
    responses(
        (status = 200, body = List<AuditDocument>),
        (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem),
    ))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(ListParameters { page, filter }): Query<ListParameters>,
) -> Result<Json<List<AuditDocument>>, Problem> {
    caller.admin()?;
    let fetched = web.store.audit(&filter).await?;
    Ok(Json(page.cut(fetched, |entry| entry.id.as_str(), AuditDocument::from)))
}
