//! All organisations of the server.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use crate::{
    domain::ids::OrganisationId,
    store::OrganisationCounts,
    web::{
        Web,
        api::Page,
        pages::{
            page::{PageResult, render},
            viewer::Viewer,
            words::When,
        },
        parameters::Query,
    },
};

const PATH: &str = "/admin/organisations";

pub(super) fn routes() -> Router<Web> {
    Router::new().route(PATH, get(show))
}

#[derive(Template)]
#[template(path = "admin/organisations.html")]
struct OrganisationsPage {
    viewer: Viewer,
    rows: Vec<Row>,
    is_later: bool,
    next: Option<String>,
}

struct Row {
    counts: OrganisationCounts,
    since: When,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(page): Query<Page>) -> PageResult {
    viewer.caller.admin()?;
    let before = page.cursor.as_deref().map(OrganisationId::from);
    let fetched = web.store.organisation_counts(before.as_ref(), page.fetch()).await?;
    let list = page.cut(
        fetched,
        |counts| counts.id.as_str(),
        |counts| Row {
            since: When::new(counts.created_at, viewer.now),
            counts,
        },
    );
    render(&OrganisationsPage {
        viewer,
        rows: list.items,
        is_later: page.cursor.is_some(),
        next: list.next_cursor,
    })
}
