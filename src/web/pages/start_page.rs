//! The start page: the newest builds that everybody may see.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use chrono::{DateTime, Utc};

use super::{
    page::{PageResult, render},
    viewer::Viewer,
    words::When,
};
use crate::{
    store::{Build, BuildFilter},
    web::{Web, parameters::Query},
};

/// Builds that are shown.
const NEWEST: u32 = 20;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/", get(page))
}

#[derive(Template)]
#[template(path = "start_page.html")]
struct StartPage {
    viewer: Viewer,
    builds: Vec<Row>,
}

struct Row {
    id: String,
    repository: String,
    number: i64,
    status: &'static str,
    source: String,
    tags: String,
    queued: When,
}

impl Row {
    fn new(build: Build, now: DateTime<Utc>) -> Self {
        let commit = build
            .commit
            .as_deref()
            .and_then(|commit| commit.get(..7))
            .unwrap_or_default();
        Self {
            id: build.id.to_string(),
            repository: build.repository.to_string(),
            number: build.number,
            status: build.status.as_str(),
            source: format!("{} {commit}", build.source_name).trim_end().to_owned(),
            tags: build.plan.tags.join(", "),
            queued: When::new(build.queued_at, now),
        }
    }
}

async fn page(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    let newest = BuildFilter {
        limit: NEWEST,
        ..BuildFilter::default()
    };
    let builds = web.store.builds(&newest).await?;
    let now = viewer.now;
    render(&StartPage {
        viewer,
        builds: builds.into_iter().map(|build| Row::new(build, now)).collect(),
    })
}
