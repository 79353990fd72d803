//! Who belongs to an organisation, and in which role; invitations. No mail is sent: the address that accepts an invitation
//! is shown once, to be handed on.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;

use super::{OrganisationHead, RoleChoice, Tab, path_of, role_choices};
use crate::{
    domain::{access::Role, ids::UserId},
    store::{Invitation, Member, Organisation},
    web::{
        Web,
        api::Page,
        audit::Origin,
        organisations::{self, Invited},
        pages::{
            form::{FormErrors, Submitted},
            notice::Notice,
            page::{PageResult, done, render_with, sentence},
            viewer::Viewer,
            words::When,
        },
        parameters::{Query, Segments},
        problem::Problem,
    },
};

/// Open invitations that are shown: all that there can be.
const SHOWN_INVITATIONS: u32 = 200;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/o/{organisation}/members", get(show).post(change_role))
        .route("/o/{organisation}/members/remove", post(remove))
        .route("/o/{organisation}/members/invite", post(invite))
        .route("/o/{organisation}/members/withdraw", post(withdraw))
}

#[derive(Template)]
#[template(path = "organisation/members.html")]
struct MembersPage {
    viewer: Viewer,
    head: OrganisationHead,
    errors: FormErrors,
    /// Where the invitation that was just made is accepted; shown this once.
    fresh: Option<Fresh>,
    members: Vec<MemberRow>,
    next: Option<String>,
    invitations: Vec<InvitationRow>,
    invitee: String,
    roles: Vec<RoleChoice>,
}

struct Fresh {
    invitee: String,
    url: String,
}

struct MemberRow {
    name: String,
    role: &'static str,
    roles: Vec<RoleChoice>,
    since: When,
    is_viewer: bool,
}

struct InvitationRow {
    id: String,
    invitee: String,
    role: &'static str,
    invited_by: String,
    expires: When,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleForm {
    member: String,
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemoveForm {
    member: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InviteForm {
    invitee: String,
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithdrawForm {
    id: String,
}

/// What the page begins with, or goes on with after a form.
struct Filled {
    status: StatusCode,
    errors: FormErrors,
    fresh: Option<Fresh>,
    invitee: String,
    role: Role,
}

impl Default for Filled {
    fn default() -> Self {
        Self {
            status: StatusCode::OK,
            errors: FormErrors::default(),
            fresh: None,
            invitee: String::new(),
            role: Role::Read,
        }
    }
}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<String>,
    Query(page): Query<Page>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Read).await?;
    render(&web, viewer, &organisation, &page, Filled::default()).await
}

async fn render(web: &Web, viewer: Viewer, organisation: &Organisation, page: &Page, filled: Filled) -> PageResult {
    let head = OrganisationHead::new(&viewer, organisation, Tab::Members);
    let before = page.cursor.as_deref().map(UserId::from);
    let fetched = web
        .store
        .members(&organisation.id, before.as_ref(), page.fetch())
        .await?;
    let list = page.cut(fetched, |member| member.user.as_str(), |member| row(member, &viewer));
    let invitations = match head.is_owner() {
        true => {
            web.store
                .invitations(&organisation.id, viewer.now, None, SHOWN_INVITATIONS)
                .await?
        }
        false => vec![],
    };
    let invitation = |invitation: Invitation| InvitationRow {
        id: invitation.id.to_string(),
        invitee: invitation.invitee,
        role: invitation.role.as_str(),
        invited_by: invitation.invited_by,
        expires: When::new(invitation.expires_at, viewer.now),
    };
    let page = MembersPage {
        invitations: invitations.into_iter().map(invitation).collect(),
        head,
        viewer,
        errors: filled.errors,
        fresh: filled.fresh,
        members: list.items,
        next: list.next_cursor,
        invitee: filled.invitee,
        roles: role_choices(filled.role),
    };
    render_with(filled.status, &page)
}

fn row(member: Member, viewer: &Viewer) -> MemberRow {
    MemberRow {
        is_viewer: viewer.name() == Some(member.name.as_str()),
        name: member.name,
        role: member.role.as_str(),
        roles: role_choices(member.role),
        since: When::new(member.since, viewer.now),
    }
}

/// Back to the members, saying what was done, or why it was not.
fn answer(organisation: &Organisation, result: Result<String, Problem>) -> PageResult {
    let path = format!("{}/members", path_of(&organisation.name));
    told(&path, result)
}

/// Goes on to a page that says what was done; refusals that the person can do something about are said there too.
pub(super) fn told(path: &str, result: Result<String, Problem>) -> Result<Response, Problem> {
    match result {
        Ok(said) => Ok(done(path, &Notice::good(said))),
        Err(problem)
            if matches!(
                problem.status(),
                StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY
            ) =>
        {
            Ok(done(path, &Notice::bad(sentence(problem.detail()))))
        }
        Err(problem) => Err(problem),
    }
}

async fn change_role(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<RoleForm>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let whom = (form.member.as_str(), form.role);
    let result = organisations::put_member(&web, &viewer.caller, &origin, &organisation, whom).await;
    let said = |_| format!("{} has the role {} now.", form.member, form.role.as_str());
    answer(&organisation, result.map(said))
}

async fn remove(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<RemoveForm>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let result = organisations::remove_member(&web, &viewer.caller, &origin, &organisation, &form.member).await;
    let said = |()| format!("{} is no member of {name} any more.", form.member);
    match result.is_ok() && viewer.name() == Some(form.member.as_str()) && !viewer.is_admin() {
        // Who has just left may not see the members any more.
        true => told(&path_of(&organisation.name), result.map(said)),
        false => answer(&organisation, result.map(said)),
    }
}

async fn invite(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<InviteForm>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let invitee = form.invitee.trim().to_owned();
    let whom = (invitee.as_str(), form.role);
    let filled = match organisations::invite(&web, &viewer.caller, &origin, &organisation, whom).await {
        Ok(invited) => Filled {
            status: StatusCode::CREATED,
            fresh: Some(fresh(&web, &invited)),
            ..Filled::default()
        },
        Err(problem) => Filled {
            status: problem.status(),
            errors: refusal(problem)?,
            invitee,
            role: form.role,
            ..Filled::default()
        },
    };
    let first = Page {
        limit: SHOWN_INVITATIONS,
        cursor: None,
    };
    render(&web, viewer, &organisation, &first, filled).await
}

fn fresh(web: &Web, invited: &Invited) -> Fresh {
    Fresh {
        invitee: invited.invitation.invitee.clone(),
        url: invited.url(web),
    }
}

/// The fields at fault of a refused invitation; other problems stay what they are.
fn refusal(problem: Problem) -> Result<FormErrors, Problem> {
    match problem.status() {
        StatusCode::UNPROCESSABLE_ENTITY => Ok(FormErrors::new(problem.errors().to_vec())),
        StatusCode::CONFLICT => Ok(FormErrors::one("invitee", problem.detail())),
        _ => Err(problem),
    }
}

async fn withdraw(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<WithdrawForm>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let result = organisations::withdraw(&web, &viewer.caller, &origin, &organisation, &form.id).await;
    answer(
        &organisation,
        result.map(|()| "The invitation was withdrawn; its address leads nowhere now.".to_owned()),
    )
}
