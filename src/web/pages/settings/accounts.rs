//! The place of linked accounts.

use askama::Template;
use axum::{Router, routing::get};

use crate::web::{
    Web,
    pages::{
        page::{PageResult, render},
        viewer::Viewer,
    },
    parameters::Query,
};

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/settings/accounts", get(show))
}

#[derive(Template)]
#[template(path = "settings/accounts.html")]
struct AccountsPage {
    viewer: Viewer,
}

async fn show(viewer: Viewer, Query(()): Query<()>) -> PageResult {
    viewer.user()?;
    render(&AccountsPage { viewer })
}
