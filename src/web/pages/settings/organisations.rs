//! The organisations that one belongs to, and leaving them.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;

use crate::{
    domain::ids::OrganisationId,
    web::{
        Web,
        api::Page,
        audit::Origin,
        organisations,
        pages::{
            form::Submitted,
            notice::Notice,
            page::{PageResult, done, render, sentence},
            viewer::Viewer,
        },
        parameters::Query,
    },
};

const PATH: &str = "/settings/organisations";

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(PATH, get(show))
        .route("/settings/organisations/leave", post(leave))
}

#[derive(Template)]
#[template(path = "settings/organisations.html")]
struct OrganisationsPage {
    viewer: Viewer,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    name: String,
    display_name: String,
    role: &'static str,
    explanation: &'static str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaveForm {
    organisation: String,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(page): Query<Page>) -> PageResult {
    let user = viewer.user()?.id.clone();
    let before = page.cursor.as_deref().map(OrganisationId::from);
    let fetched = web
        .store
        .organisations(&user, false, before.as_ref(), page.fetch())
        .await?;
    let list = page.cut(
        fetched,
        |(organisation, _)| organisation.id.as_str(),
        |(organisation, role)| Row {
            name: organisation.name,
            display_name: organisation.display_name,
            role: role.map_or("", |role| role.as_str()),
            explanation: role.map_or("", |role| role.explanation()),
        },
    );
    render(&OrganisationsPage {
        viewer,
        rows: list.items,
        next: list.next_cursor,
    })
}

async fn leave(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<LeaveForm>,
) -> PageResult {
    let me = viewer.user()?.name.clone();
    let organisation = organisations::find(&web, &form.organisation).await?;
    match organisations::remove_member(&web, &viewer.caller, &origin, &organisation, &me).await {
        Ok(()) => Ok(done(PATH, &Notice::good(format!("You left {}.", organisation.name)))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            Ok(done(PATH, &Notice::bad(sentence(problem.detail()))))
        }
        Err(problem) => Err(problem),
    }
}
