//! Credentials for registries, of a namespace or of the whole server. A password can be replaced, never read.

use axum::{Json, extract::State, response::IntoResponse};
use chrono::{DateTime, Utc};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    document::{ReadOnly, WebhookDocument},
    pagination::{List, Page, PageParameters},
};
use crate::{
    domain::{
        access::Role,
        audit::Action,
        ids::RegistryId,
        image::{DOCKER_HUB, is_registry_host, is_valid_registry_host},
        repository::check_name,
    },
    secrets,
    store::{NewRegistry, RegistryRow},
    tokens,
    web::{
        Web,
        audit::Origin,
        auth::Caller,
        json::StrictJson,
        parameters::{HostPath, NamespacePath, Query, Segments},
        problem::{FieldError, Problem},
    },
};

/// Names under which Docker Hub is known besides its own.
const DOCKER_HUB_NAMES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];

/// Most token servers that one registry's credentials may be shown to.
const MOST_REALMS: usize = 20;

/// Where the whole server's credentials are stored: a namespace that no name can be.
const WHOLE_SERVER: &str = "";

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
pub struct RegistryDocument {
    /// Null for the whole server's.
    namespace: Option<String>,
    pub host: String,
    pub username: String,
    password_set: bool,
    pub trusted_realms: Vec<String>,
    pub webhook: WebhookDocument,
    created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Credentials for a registry, as they are written.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryInput {
    pub username: String,
    /// Write-only. Left out: the stored one stays.
    #[schema(write_only)]
    pub password: Option<String>,
    /// Hosts of token servers, beside the registry's own, that may see the credentials.
    #[serde(default)]
    pub trusted_realms: Vec<String>,
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

impl RegistryInput {
    pub fn new(username: String, password: Option<String>, trusted_realms: Vec<String>) -> Self {
        Self {
            username,
            password,
            trusted_realms,
            _namespace: ReadOnly::default(),
            _host: ReadOnly::default(),
            _password_set: ReadOnly::default(),
            _webhook: ReadOnly::default(),
            _created_at: ReadOnly::default(),
            _updated_at: ReadOnly::default(),
        }
    }
}

fn show(web: &Web, row: RegistryRow, secret: Option<String>) -> RegistryDocument {
    RegistryDocument {
        webhook: WebhookDocument {
            url: format!("{}/webhooks/registry/{}", web.settings.base_url, row.hook_id),
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

/// Whose credentials these are, once the caller may touch them.
fn namespace_of<'a>(caller: &Caller, namespace: Option<&'a str>) -> Result<&'a str, Problem> {
    match namespace {
        Some(namespace) => {
            caller.user()?;
            check_name(namespace).map_err(|_| Problem::not_found("namespace"))?;
            caller.may(namespace, Role::Admin)?;
            Ok(namespace)
        }
        None => {
            caller.admin()?;
            Ok(WHOLE_SERVER)
        }
    }
}

/// The host as it is stored.
fn known_host(host: &str) -> Result<&str, Problem> {
    match host {
        name if DOCKER_HUB_NAMES.contains(&name) => Ok(DOCKER_HUB),
        host if is_valid_registry_host(host) && is_registry_host(host) => Ok(host),
        _ => Err(Problem::field(
            "host",
            "it is a registry's host as images name it, such as registry.example.com:5000",
        )),
    }
}

/// The credentials of a namespace, or of the whole server, by host.
pub async fn registries_of(
    web: &Web,
    caller: &Caller,
    namespace: Option<&str>,
) -> Result<Vec<RegistryDocument>, Problem> {
    let rows = web.store.registries_of(namespace_of(caller, namespace)?).await?;
    Ok(rows.into_iter().map(|row| show(web, row, None)).collect())
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
    (caller, origin): (&Caller, &Origin),
    namespace: Option<&str>,
    host: &str,
    body: StrictJson<RegistryInput>,
) -> Result<(StatusCode, Json<RegistryDocument>), Problem> {
    namespace_of(caller, namespace)?;
    known_host(host)?;
    let (document, created) = save_registry(web, (caller, origin), namespace, host, body.checked()?).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(document)))
}

/// Stores credentials; tells whether they are new, and then has the secret for notifications, this once.
pub async fn save_registry(
    web: &Web,
    (caller, origin): (&Caller, &Origin),
    namespace: Option<&str>,
    host: &str,
    input: RegistryInput,
) -> Result<(RegistryDocument, bool), Problem> {
    let namespace = namespace_of(caller, namespace)?;
    let host = known_host(host)?;
    check(&input)?;
    let id = RegistryId::new();
    let hook_secret = tokens::new_webhook_secret();
    let new = NewRegistry {
        namespace,
        host,
        username: &input.username,
        trusted_realms: &input.trusted_realms,
        hook_id: tokens::new_hook_id(),
        sealed_hook_secret: &web
            .vault
            .seal(&secrets::registry_hook(id.as_str()), hook_secret.expose_secret()),
        now: web.clock.now(),
        id,
    };
    let seal = |id: &RegistryId| {
        let purpose = secrets::registry_password(id.as_str());
        input
            .password
            .as_ref()
            .map(|password| web.vault.seal(&purpose, password))
    };
    let Some((row, created)) = web.store.put_registry(&new, seal).await? else {
        return Err(Problem::field("password", "there is no stored one to keep; give it"));
    };
    let detail = json!({ "created": created, "password_replaced": input.password.is_some() });
    let actor = origin.actor(&caller.user()?.name);
    web.note(actor.did(Action::RegistrySaved, host, namespace, detail))
        .await;
    let secret = created.then(|| hook_secret.expose_secret().to_owned());
    Ok((show(web, row, secret), created))
}

fn check(input: &RegistryInput) -> Result<(), Problem> {
    let mut errors = Vec::new();
    // RFC 7617: what follows the first colon would be taken for the password.
    if input.username.is_empty() || input.username.contains(':') {
        errors.push(FieldError::new("username", "it is not empty and has no colon"));
    }
    if input.password.as_ref().is_some_and(String::is_empty) {
        errors.push(FieldError::new(
            "password",
            "it is empty; left out, the stored one stays",
        ));
    }
    if input.trusted_realms.len() > MOST_REALMS {
        errors.push(FieldError::new(
            "trusted_realms",
            format!("there are more than {MOST_REALMS}"),
        ));
    }
    for (index, realm) in input.trusted_realms.iter().enumerate() {
        if !is_valid_registry_host(realm) {
            let message = format!("`{realm}` is not a host, such as auth.example.com");
            errors.push(FieldError::new(format!("trusted_realms[{index}]"), message));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(errors))
    }
}

/// Forgets credentials.
pub async fn delete_registry(
    web: &Web,
    (caller, origin): (&Caller, &Origin),
    namespace: Option<&str>,
    host: &str,
) -> Result<StatusCode, Problem> {
    let (namespace, host) = (namespace_of(caller, namespace)?, known_host(host)?);
    if !web.store.delete_registry(namespace, host).await? {
        return Err(Problem::not_found("registry"));
    }
    let actor = origin.actor(&caller.user()?.name);
    web.note(actor.did(Action::RegistryDeleted, host, namespace, json!({})))
        .await;
    Ok(StatusCode::NO_CONTENT)
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
    delete_registry(&web, (&caller, &origin), Some(&namespace), &host).await
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
    delete_registry(&web, (&caller, &origin), None, &host).await
}
