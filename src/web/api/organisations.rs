//! Organisations: list, make, read, change, delete.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    document::ReadOnly,
    pagination::{List, Page, PageParameters},
};
use crate::{
    domain::{access::Role, ids::OrganisationId, repository::Visibility},
    store::Organisation,
    web::{
        Web,
        audit::Origin,
        auth::Caller,
        json::StrictJson,
        organisations::{self, Wish},
        parameters::{OrganisationPath, Query, Segments},
        problem::Problem,
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(read, put, delete))
}

/// An organisation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Organisation)]
struct OrganisationDocument {
    /// Its namespace.
    name: String,
    display_name: String,
    description: String,
    /// Of a new repository that does not say.
    default_visibility: Visibility,
    created_at: DateTime<Utc>,
    /// The caller's, as a member; null for everybody else.
    role: Option<Role>,
}

impl OrganisationDocument {
    fn new(organisation: Organisation, role: Option<Role>) -> Self {
        Self {
            name: organisation.name,
            display_name: organisation.display_name,
            description: organisation.description,
            default_visibility: organisation.default_visibility,
            created_at: organisation.created_at,
            role,
        }
    }
}

/// The role that a caller has as a member.
fn role_of(caller: &Caller, organisation: &Organisation) -> Option<Role> {
    match caller {
        Caller::User(user) => user.access.roles.get(&organisation.name).copied(),
        Caller::Anonymous => None,
    }
}

/// A new organisation.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOrganisation {
    /// Lower case letters and digits, joined by single `.`, `_` or `-`. It cannot be changed.
    name: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    default_visibility: Visibility,
}

/// What an organisation says of itself.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganisationInput {
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    default_visibility: Visibility,
    // What follows is read back and accepted, so that read, edit, write works; it is not acted on.
    #[schema(ignore)]
    #[serde(rename = "name")]
    _name: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "created_at")]
    _created_at: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "role")]
    _role: ReadOnly,
}

/// The caller's organisations, newest first; administrators see all.
#[utoipa::path(get, path = "/api/v1/organisations", tag = "organisations",
    operation_id = "list_organisations", params(PageParameters), responses(
    (status = 200, body = List<OrganisationDocument>),
    (status = 401, body = Problem), (status = 422, body = Problem),
))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Result<Json<List<OrganisationDocument>>, Problem> {
    let user = caller.user()?;
    let before = page.cursor.as_deref().map(OrganisationId::from);
    let fetched = web
        .store
        .organisations(&user.id, user.is_admin, before.as_ref(), page.fetch())
        .await?;
    Ok(Json(page.cut(
        fetched,
        |(organisation, _)| organisation.id.as_str(),
        |(organisation, role)| OrganisationDocument::new(organisation, role),
    )))
}

/// Makes an organisation, whose owner the caller becomes.
#[utoipa::path(post, path = "/api/v1/organisations", tag = "organisations",
    operation_id = "create_organisation", request_body = NewOrganisation, responses(
    (status = 201, body = OrganisationDocument),
    (status = 401, body = Problem), (status = 403, body = Problem),
    (status = 409, description = "The name is taken", body = Problem),
    (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn create(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Query(()): Query<()>,
    body: StrictJson<NewOrganisation>,
) -> Result<(StatusCode, Json<OrganisationDocument>), Problem> {
    caller.unrestricted()?;
    let new = body.checked()?;
    let wish = Wish {
        display_name: new.display_name,
        description: new.description,
        default_visibility: new.default_visibility,
    };
    let made = organisations::create(&web, &caller, &origin, &new.name, wish).await?;
    let document = OrganisationDocument::new(made, Some(Role::Owner));
    Ok((StatusCode::CREATED, Json(document)))
}

/// An organisation. Everybody may know of it, as of users.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation}", tag = "organisations",
    operation_id = "read_organisation", params(OrganisationPath), responses(
    (status = 200, body = OrganisationDocument),
    (status = 401, body = Problem), (status = 404, body = Problem),
))]
async fn read(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
) -> Result<Json<OrganisationDocument>, Problem> {
    let organisation = organisations::find(&web, &name).await?;
    let role = role_of(&caller, &organisation);
    Ok(Json(OrganisationDocument::new(organisation, role)))
}

/// Replaces what an organisation says of itself.
#[utoipa::path(put, path = "/api/v1/organisations/{organisation}", tag = "organisations",
    operation_id = "put_organisation", params(OrganisationPath), request_body = OrganisationInput, responses(
    (status = 200, body = OrganisationDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn put(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<OrganisationInput>,
) -> Result<Json<OrganisationDocument>, Problem> {
    let organisation = organisations::find_for(&web, &caller, &name, Role::Owner).await?;
    let input = body.checked()?;
    let wish = Wish {
        display_name: input.display_name,
        description: input.description,
        default_visibility: input.default_visibility,
    };
    let changed = organisations::change(&web, &caller, &origin, organisation, wish).await?;
    let role = role_of(&caller, &changed);
    Ok(Json(OrganisationDocument::new(changed, role)))
}

/// Deletes an organisation with its memberships, invitations and registries.
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation}", tag = "organisations",
    operation_id = "delete_organisation", params(OrganisationPath), responses(
    (status = 204, description = "Deleted"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "It still has repositories", body = Problem),
))]
async fn delete(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    let organisation = organisations::find_for(&web, &caller, &name, Role::Owner).await?;
    organisations::delete(&web, &caller, &origin, &organisation).await?;
    Ok(StatusCode::NO_CONTENT)
}
