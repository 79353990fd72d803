//! Accepting an invitation: where the address that an owner handed on leads. Looking at it changes nothing.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use serde::Deserialize;

use super::{members::told, path_of};
use crate::web::{
    Web,
    audit::Origin,
    organisations,
    pages::{
        form::Submitted,
        page::{PageResult, render},
        viewer::Viewer,
        words::When,
    },
    parameters::{Query, Segments},
};

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/invitations/{code}", get(show).post(accept))
}

#[derive(Template)]
#[template(path = "organisation/invitation.html")]
struct InvitationPage {
    viewer: Viewer,
    organisation: String,
    role: &'static str,
    explanation: &'static str,
    invited_by: String,
    expires: When,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptForm {}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(code): Segments<String>,
    Query(()): Query<()>,
) -> PageResult {
    let invitation = organisations::invitation_for(&web, &viewer.caller, &code).await?;
    render(&InvitationPage {
        organisation: invitation.name,
        role: invitation.role.as_str(),
        explanation: invitation.role.explanation(),
        invited_by: invitation.invited_by,
        expires: When::new(invitation.expires_at, viewer.now),
        viewer,
    })
}

async fn accept(
    State(web): State<Web>,
    origin: Origin,
    Segments(code): Segments<String>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<AcceptForm>,
) -> PageResult {
    let AcceptForm {} = form;
    match organisations::accept(&web, &viewer.caller, &origin, &code).await {
        Ok((organisation, role)) => {
            let said = format!(
                "You are a member of {organisation} now, with the role {}.",
                role.as_str()
            );
            told(&path_of(&organisation), Ok(said))
        }
        Err(problem) => told("/settings/organisations", Err(problem)),
    }
}
