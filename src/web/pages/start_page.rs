//! A plain start page: what this is, how it is doing, and the newest builds that everybody may see.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{Html, IntoResponse},
    routing::get,
};
use http::header;

use crate::{
    domain::build::Status,
    store::{Build, BuildFilter},
    web::{Web, parameters::Query, problem::Problem},
};

/// Builds that are shown.
const NEWEST: u32 = 20;

const STYLE: &str = include_str!("../templates/style.css");

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/", get(page)).route("/style.css", get(style))
}

#[derive(Template)]
#[template(path = "start_page.html")]
struct StartPage {
    counts: Vec<(&'static str, i64)>,
    builds: Vec<Row>,
}

struct Row {
    id: String,
    repository: String,
    number: i64,
    status: &'static str,
    source: String,
    tags: String,
    queued_at: String,
}

impl From<Build> for Row {
    fn from(build: Build) -> Self {
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
            queued_at: build.queued_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        }
    }
}

async fn page(State(web): State<Web>, Query(()): Query<()>) -> Result<Html<String>, Problem> {
    let counts = web.store.count_builds().await?;
    let count_of = |status: Status| {
        counts
            .iter()
            .find(|(found, _)| *found == status)
            .map_or(0, |(_, count)| *count)
    };
    let newest = BuildFilter {
        limit: NEWEST,
        ..BuildFilter::default()
    };
    let page = StartPage {
        counts: [Status::Queued, Status::Running, Status::Succeeded, Status::Failed]
            .map(|status| (status.as_str(), count_of(status)))
            .to_vec(),
        builds: web.store.builds(&newest).await?.into_iter().map(Row::from).collect(),
    };
    page.render().map(Html).map_err(|error| Problem::internal(&error))
}

async fn style(Query(()): Query<()>) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "text/css; charset=utf-8"),
            (header::CACHE_CONTROL, "max-age=3600"),
        ],
        STYLE,
    )
}
