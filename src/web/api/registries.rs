//! Credentials for registries, of a namespace or of the whole server. A password can be replaced, never read.

use axum::{Json, extract::State, response::IntoResponse};
use chrono::{DateTime, Utc};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    document::{ReadOnly, WebhookDocument},
    pagination::{List, Page, PageParameters},
};
use crate::{
    store::RegistryRow,
    web::{
        Web,
        audit::Origin,
        auth::Caller,
        json::StrictJson,
        parameters::{HostPath, NamespacePath, Query, Segments},
        problem::Problem,
        registries::{self, Credentials, WHOLE_SERVER, hook_url, known_host, namespace_of},
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list_of_namespace))
        .routes(routes!(read_of_namespace, put_of_namespace, delete_of_namespace))
        .routes(routes!(list))
        .routes(routes!(read, put, delete))
}

/// Credentials for a registry, as they are read.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Registry)]
struct RegistryDocument {
    /// Null for the whole server's.
    namespace: Option<String>,
    host: String,
    username: String,
    password_set: bool,
    trusted_realms: Vec<String>,
    webhook: WebhookDocument,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// Credentials for a registry, as they are written.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RegistryInput {
    username: String,
    /// Write-only. Left out: the stored one stays.
    #[schema(write_only)]
    password: Option<String>,
    /// Hosts of token servers, beside the registry's own, that may see the credentials.
    #[serde(default)]
    trusted_realms: Vec<String>,
    // What follows is read back and accepted, so that read, edit, write works; it is not acted on.
    #[schema(ignore)]
    #[serde(rename = "namespace")]
    _namespace: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "host")]
    _host: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "password_set")]
    _password_set: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "webhook")]
    _webhook: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "created_at")]
    _created_at: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "updated_at")]
    _updated_at: ReadOnly,
}

fn show(web: &Web, row: RegistryRow, secret: Option<String>) -> RegistryDocument {
    RegistryDocument {
        webhook: WebhookDocument {
            url: hook_url(web, &row),
            secret_set: true,
            secret,
        },
        namespace: (row.namespace != WHOLE_SERVER).then_some(row.namespace),
        host: row.host,
        username: row.username,
        password_set: true,
        trusted_realms: row.trusted_realms,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

async fn listed(
    web: &Web,
    caller: &Caller,
    namespace: Option<&str>,
    page: &Page,
) -> Result<Json<List<RegistryDocument>>, Problem> {
    // One entry a host: there are never so many that the store would have to page.
    let mut rows = web.store.registries_of(namespace_of(caller, namespace)?).await?;
    rows.retain(|row| page.cursor.as_deref().is_none_or(|cursor| row.id.as_str() < cursor));
    rows.sort_by(|one, other| other.id.cmp(&one.id));
    Ok(Json(page.cut(rows, |row| row.id.as_str(), |row| show(web, row, None))))
}

async fn found(
    web: &Web,
    caller: &Caller,
    namespace: Option<&str>,
    host: &str,
) -> Result<Json<RegistryDocument>, Problem> {
    let row = web
        .store
        .registry(namespace_of(caller, namespace)?, known_host(host)?)
        .await?;
    row.map(|row| Json(show(web, row, None)))
        .ok_or_else(|| Problem::not_found("registry"))
}

async fn saved(
    web: &Web,
    by: (&Caller, &Origin),
    namespace: Option<&str>,
    host: &str,
    body: StrictJson<RegistryInput>,
) -> Result<(StatusCode, Json<RegistryDocument>), Problem> {
    // Whether they may do this at all comes before what is wrong with the body.
    namespace_of(by.0, namespace)?;
    known_host(host)?;
    let input = body.checked()?;
    let credentials = Credentials {
        username: input.username,
        password: input.password.map(SecretString::from),
        trusted_realms: input.trusted_realms,
    };
    let (row, secret) = registries::save(web, by, namespace, host, credentials).await?;
    let status = match secret {
        Some(_) => StatusCode::CREATED,
        None => StatusCode::OK,
    };
    let secret = secret.map(|secret| secret.expose_secret().to_owned());
    Ok((status, Json(show(web, row, secret))))
}

/// The registries of a namespace.
#[utoipa::path(get, path = "/api/v1/namespaces/{namespace}/registries", tag = "registries",
    operation_id = "list_registries_of_namespace", params(NamespacePath, PageParameters), responses(
    (status = 200, body = List<RegistryDocument>),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn list_of_namespace(
    State(web): State<Web>,
    caller: Caller,
    Segments(namespace): Segments<String>,
    Query(page): Query<Page>,
) -> Result<Json<List<RegistryDocument>>, Problem> {
    listed(&web, &caller, Some(&namespace), &page).await
}

/// A registry of a namespace.
#[utoipa::path(get, path = "/api/v1/namespaces/{namespace}/registries/{host}", tag = "registries",
    operation_id = "read_registry_of_namespace", params(NamespacePath, HostPath), responses(
    (status = 200, body = RegistryDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
async fn read_of_namespace(
    State(web): State<Web>,
    caller: Caller,
    Segments((namespace, host)): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<Json<RegistryDocument>, Problem> {
    found(&web, &caller, Some(&namespace), &host).await
}

/// Stores credentials for a namespace's builds.
#[utoipa::path(put, path = "/api/v1/namespaces/{namespace}/registries/{host}", tag = "registries",
    operation_id = "put_registry_of_namespace", params(NamespacePath, HostPath),
    request_body = RegistryInput, responses(
    (status = 200, body = RegistryDocument),
    (status = 201, description = "`webhook.secret` is shown this once", body = RegistryDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn put_of_namespace(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments((namespace, host)): Segments<(String, String)>,
    Query(()): Query<()>,
    body: StrictJson<RegistryInput>,
) -> Result<impl IntoResponse, Problem> {
    saved(&web, (&caller, &origin), Some(&namespace), &host, body).await
}

/// Forgets credentials of a namespace.
#[utoipa::path(delete, path = "/api/v1/namespaces/{namespace}/registries/{host}", tag = "registries",
    operation_id = "delete_registry_of_namespace", params(NamespacePath, HostPath), responses(
    (status = 204, description = "Forgotten"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
async fn delete_of_namespace(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments((namespace, host)): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    registries::delete(&web, (&caller, &origin), Some(&namespace), &host).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The registries of the whole server.
#[utoipa::path(get, path = "/api/v1/registries", tag = "registries",
    operation_id = "list_registries", params(PageParameters), responses(
    (status = 200, body = List<RegistryDocument>),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 422, body = Problem),
))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<List<RegistryDocument>>, Problem> {
    listed(&web, &caller, None, &page).await
}

/// A registry of the whole server.
#[utoipa::path(get, path = "/api/v1/registries/{host}", tag = "registries",
    operation_id = "read_registry", params(HostPath), responses(
    (status = 200, body = RegistryDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
async fn read(
    State(web): State<Web>,
    caller: Caller,
    Segments(host): Segments<String>,
    Query(()): Query<()>,
) -> Result<Json<RegistryDocument>, Problem> {
    found(&web, &caller, None, &host).await
}

/// Stores credentials for everybody's builds.
#[utoipa::path(put, path = "/api/v1/registries/{host}", tag = "registries",
    operation_id = "put_registry", params(HostPath), request_body = RegistryInput, responses(
    (status = 200, body = RegistryDocument),
    (status = 201, description = "`webhook.secret` is shown this once", body = RegistryDocument),
    (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn put(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(host): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<RegistryInput>,
) -> Result<impl IntoResponse, Problem> {
    saved(&web, (&caller, &origin), None, &host, body).await
}

/// Forgets credentials of the whole server.
#[utoipa::path(delete, path = "/api/v1/registries/{host}", tag = "registries",
    operation_id = "delete_registry", params(HostPath), responses(
    (status = 204, description = "Forgotten"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
async fn delete(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(host): Segments<String>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    registries::delete(&web, (&caller, &origin), None, &host).await?;
    Ok(StatusCode::NO_CONTENT)
}
