//! What was done in an organisation, and by whom; for its owners.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use super::{OrganisationHead, Tab};
use crate::{
    domain::{access::Role, ids::AuditId},
    store::AuditFilter,
    web::{
        Web,
        api::Page,
        organisations,
        pages::{
            audit_row::AuditRow,
            page::{PageResult, render},
            viewer::Viewer,
        },
        parameters::{Query, Segments},
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/o/{organisation}/audit", get(show))
}

#[derive(Template)]
#[template(path = "organisation/log.html")]
struct LogPage {
    viewer: Viewer,
    head: OrganisationHead,
    rows: Vec<AuditRow>,
    next: Option<String>,
    is_later: bool,
}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<String>,
    Query(page): Query<Page>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let filter = AuditFilter {
        namespace: Some(organisation.name.clone()),
        before: page.cursor.as_deref().map(AuditId::from),
        limit: page.fetch(),
        ..AuditFilter::default()
    };
    let fetched = web.store.audit(&filter).await?;
    let list = page.cut(
        fetched,
        |entry| entry.id.as_str(),
        |entry| AuditRow::new(&entry.event, viewer.now),
    );
    render(&LogPage {
        head: OrganisationHead::new(&viewer, &organisation, Tab::Log),
        is_later: page.cursor.is_some(),
        viewer,
        rows: list.items,
        next: list.next_cursor,
    })
}
