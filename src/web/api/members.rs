//! Members of organisations and invitations to them.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    builds::Empty,
    document::ReadOnly,
    pagination::{List, Page, PageParameters},
};
use crate::{
    domain::{
        access::Role,
        ids::{InvitationId, UserId},
    },
    store::{Invitation, Member},
    web::{
        Web,
        audit::Origin,
        auth::Caller,
        json::StrictJson,
        organisations,
        parameters::{CodePath, IdPath, MemberPath, OrganisationPath, Query, Segments},
        problem::Problem,
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(put, remove))
        .routes(routes!(list_invitations, invite))
        .routes(routes!(withdraw))
        .routes(routes!(accept))
}

/// Somebody who belongs to an organisation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Member)]
struct MemberDocument {
    /// The user's name.
    user: String,
    role: Role,
    since: DateTime<Utc>,
}

impl From<Member> for MemberDocument {
    fn from(member: Member) -> Self {
        Self {
            user: member.name,
            role: member.role,
            since: member.since,
        }
    }
}

/// The role that a user is to have.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct MemberInput {
    role: Role,
    // What follows is read back and accepted; it is not acted on.
    #[schema(ignore)]
    #[serde(rename = "user")]
    _user: ReadOnly,
    #[schema(ignore)]
    #[serde(rename = "since")]
    _since: ReadOnly,
}

/// A user's role.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Membership {
    organisation: String,
    /// The user's name.
    user: String,
    role: Role,
}

/// An open invitation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Invitation)]
struct InvitationDocument {
    id: InvitationId,
    /// A user's name, or an e-mail address.
    invitee: String,
    role: Role,
    invited_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Shown once, in the answer to the request that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Where the invitee accepts; shown once as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl From<Invitation> for InvitationDocument {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id,
            invitee: invitation.invitee,
            role: invitation.role,
            invited_by: invitation.invited_by,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            code: None,
            url: None,
        }
    }
}

/// Whom to invite.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct InvitationInput {
    /// A user's name, or an e-mail address. No mail is sent: hand on the address that is answered.
    invitee: String,
    role: Role,
}

/// The members of an organisation, the newest users first; for members.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation}/members", tag = "organisations",
    operation_id = "list_members", params(OrganisationPath, PageParameters), responses(
    (status = 200, body = List<MemberDocument>),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(page): Query<Page>,
) -> Result<Json<List<MemberDocument>>, Problem> {
    let organisation = organisations::find_for(&web, &caller, &name, Role::Read).await?;
    let before = page.cursor.as_deref().map(UserId::from);
    let fetched = web
        .store
        .members(&organisation.id, before.as_ref(), page.fetch())
        .await?;
    Ok(Json(page.cut(
        fetched,
        |member| member.user.as_str(),
        MemberDocument::from,
    )))
}

/// Gives a user a role, as a new member or instead of the one they have.
#[utoipa::path(put, path = "/api/v1/organisations/{organisation}/members/{user}", tag = "organisations",
    operation_id = "put_member", params(OrganisationPath, MemberPath), request_body = MemberInput, responses(
    (status = 200, body = Membership), (status = 201, body = Membership),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "There would be no owner any more", body = Problem),
    (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn put(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments((name, member)): Segments<(String, String)>,
    Query(()): Query<()>,
    body: StrictJson<MemberInput>,
) -> Result<(StatusCode, Json<Membership>), Problem> {
    let organisation = organisations::find_for(&web, &caller, &name, Role::Owner).await?;
    let role = body.checked()?.role;
    let is_new = organisations::put_member(&web, &caller, &origin, &organisation, (&member, role)).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let membership = Membership {
        organisation: organisation.name,
        user: member,
        role,
    };
    Ok((status, Json(membership)))
}

/// Ends a membership: owners end everybody's, everybody their own.
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation}/members/{user}", tag = "organisations",
    operation_id = "delete_member", params(OrganisationPath, MemberPath), responses(
    (status = 204, description = "Ended"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "There would be no owner any more", body = Problem),
))]
async fn remove(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments((name, member)): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    caller.user()?;
    let organisation = organisations::find(&web, &name).await?;
    organisations::remove_member(&web, &caller, &origin, &organisation, &member).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The open invitations of an organisation, newest first; for owners.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation}/invitations", tag = "organisations",
    operation_id = "list_invitations", params(OrganisationPath, PageParameters), responses(
    (status = 200, body = List<InvitationDocument>),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 422, body = Problem),
))]
async fn list_invitations(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<String>,
    Query(page): Query<Page>,
) -> Result<Json<List<InvitationDocument>>, Problem> {
    let organisation = organisations::find_for(&web, &caller, &name, Role::Owner).await?;
    let before = page.cursor.as_deref().map(InvitationId::from);
    let (now, limit) = (web.clock.now(), page.fetch());
    let fetched = web
        .store
        .invitations(&organisation.id, now, before.as_ref(), limit)
        .await?;
    Ok(Json(page.cut(
        fetched,
        |invitation| invitation.id.as_str(),
        InvitationDocument::from,
    )))
}

/// Invites somebody. An earlier invitation of the same invitee is replaced.
#[utoipa::path(post, path = "/api/v1/organisations/{organisation}/invitations", tag = "organisations",
    operation_id = "create_invitation", params(OrganisationPath), request_body = InvitationInput, responses(
    (status = 201, description = "`code` and `url` are shown this once", body = InvitationDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "A member already, or too many invitations", body = Problem),
    (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn invite(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<InvitationInput>,
) -> Result<(StatusCode, Json<InvitationDocument>), Problem> {
    let organisation = organisations::find_for(&web, &caller, &name, Role::Owner).await?;
    let input = body.checked()?;
    let whom = (input.invitee.as_str(), input.role);
    let invited = organisations::invite(&web, &caller, &origin, &organisation, whom).await?;
    let url = invited.url(&web);
    let document = InvitationDocument {
        code: Some(invited.code.expose_secret().to_owned()),
        url: Some(url),
        ..InvitationDocument::from(invited.invitation)
    };
    Ok((StatusCode::CREATED, Json(document)))
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation}/invitations/{id}", tag = "organisations",
    operation_id = "delete_invitation", params(OrganisationPath, IdPath), responses(
    (status = 204, description = "Withdrawn"),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
))]
async fn withdraw(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments((name, id)): Segments<(String, String)>,
    Query(()): Query<()>,
) -> Result<StatusCode, Problem> {
    let organisation = organisations::find_for(&web, &caller, &name, Role::Owner).await?;
    organisations::withdraw(&web, &caller, &origin, &organisation, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the caller a member. A code can be used once.
#[utoipa::path(post, path = "/api/v1/invitations/{code}/accept", tag = "organisations",
    operation_id = "accept_invitation", params(CodePath),
    request_body(content = Empty, description = "May be left out"), responses(
    (status = 200, body = Membership),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "The caller belongs to too many organisations", body = Problem),
    (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn accept(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(code): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<Empty>,
) -> Result<Json<Membership>, Problem> {
    let user = caller.unrestricted()?.name.clone();
    let Empty {} = body.checked()?;
    let (organisation, role) = organisations::accept(&web, &caller, &origin, &code).await?;
    Ok(Json(Membership {
        organisation,
        user,
        role,
    }))
}
