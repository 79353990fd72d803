//! Images of ours that stand on old versions of what they were built on, those first that have done so for longest.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use chrono::{DateTime, Utc};

use super::{Freshness, Tab, TabLink, image_path, tabs, tags_of};
use crate::web::{
    Web,
    base_images::{self, OutdatedBase},
    pages::{
        page::{PageResult, render},
        viewer::Viewer,
    },
    parameters::Query,
};

/// Images that are shown; nobody reads more, and those that matter come first.
const SHOWN: usize = 200;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/bases/outdated", get(page))
}

#[derive(Template)]
#[template(path = "bases/outdated.html")]
struct OutdatedPage {
    viewer: Viewer,
    tabs: [TabLink; 4],
    rows: Vec<Row>,
    more: usize,
}

struct Row {
    repository: String,
    tags: Vec<String>,
    base: String,
    base_href: String,
    used: Option<String>,
    current: Option<String>,
    freshness: Freshness,
}

async fn page(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    let outdated = base_images::outdated(&web, &viewer.caller).await?;
    render(&OutdatedPage {
        tabs: tabs(Tab::Outdated),
        more: outdated.len().saturating_sub(SHOWN),
        rows: outdated
            .into_iter()
            .take(SHOWN)
            .map(|row| Row::new(row, viewer.now))
            .collect(),
        viewer,
    })
}

impl Row {
    fn new(row: OutdatedBase, now: DateTime<Utc>) -> Self {
        Self {
            repository: row.repository.to_string(),
            tags: tags_of(&row.makes),
            base_href: image_path(&row.familiar),
            base: row.familiar,
            used: row.used,
            current: row.current,
            freshness: Freshness::new(true, row.behind_since, true, now),
        }
    }
}
