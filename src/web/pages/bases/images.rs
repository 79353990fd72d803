//! The images that are watched.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use chrono::{DateTime, Utc};
use url::form_urlencoded::Serializer;

use super::{Tab, TabLink, image_path, tabs};
use crate::web::{
    Web,
    base_images::{self, ImageSummary},
    pages::{
        page::{PageResult, render},
        viewer::Viewer,
        words::{When, counted},
    },
    parameters::{FromParameters, Parameters, Query},
    problem::FieldError,
};

const PATH: &str = "/bases";

/// Images of one page.
const PAGE: usize = 100;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/bases", get(page))
}

struct ListParameters {
    /// What the name holds.
    text: String,
    /// How many come before those of this page.
    skipped: usize,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["q", "skip"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let skipped = match parameters.take("skip")? {
            None => 0,
            Some(text) => text
                .parse()
                .map_err(|_| FieldError::new("skip", "it is where another page of the list ends"))?,
        };
        Ok(Self {
            text: parameters.take("q")?.unwrap_or_default().trim().to_owned(),
            skipped,
        })
    }
}

#[derive(Template)]
#[template(path = "bases/images.html")]
struct ImagesPage {
    viewer: Viewer,
    tabs: [TabLink; 4],
    text: String,
    rows: Vec<Row>,
    /// Nothing is watched at all.
    is_empty: bool,
    is_later: bool,
    first: String,
    next: Option<String>,
}

struct Row {
    name: String,
    href: String,
    digest: Option<String>,
    since: Option<When>,
    gone: Option<When>,
    checked: Option<When>,
    problem: Option<String>,
    /// The namespace by whose credentials it is looked at, where it is not the server's.
    access: Option<String>,
    /// `2 images in 1 repository`
    standing: String,
    outdated: usize,
}

async fn page(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<ListParameters>) -> PageResult {
    let ListParameters { text, skipped } = parameters;
    let mut images = base_images::images(&web, &viewer.caller, false).await?;
    let is_empty = images.is_empty();
    let wanted = text.to_lowercase();
    images.retain(|image| image.watched.key.image.contains(&wanted));
    let has_more = images.len() > skipped.saturating_add(PAGE);
    let rows = images.into_iter().skip(skipped).take(PAGE);
    render(&ImagesPage {
        rows: rows.map(|image| Row::new(image, viewer.now)).collect(),
        viewer,
        tabs: tabs(Tab::Images),
        first: address(&text, 0),
        next: has_more.then(|| address(&text, skipped + PAGE)),
        text,
        is_empty,
        is_later: skipped > 0,
    })
}

fn address(text: &str, skipped: usize) -> String {
    let mut query = Serializer::new(String::new());
    if !text.is_empty() {
        query.append_pair("q", text);
    }
    if skipped > 0 {
        query.append_pair("skip", &skipped.to_string());
    }
    match query.finish() {
        query if query.is_empty() => PATH.to_owned(),
        query => format!("{PATH}?{query}"),
    }
}

impl Row {
    fn new(image: ImageSummary, now: DateTime<Utc>) -> Self {
        let when = |at: Option<DateTime<Utc>>| at.map(|at| When::new(at, now));
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let watched = image.watched;
        let mut href = image_path(&image.familiar);
        if !watched.key.access.is_empty() {
            href.push_str(&format!("&access={}", watched.key.access));
        }
        let repositories = match image.repositories {
            1 => "1 repository".to_owned(),
            many => format!("{many} repositories"),
        };
        Self {
            href,
            since: when(watched.since),
            gone: when(watched.gone_since),
            checked: when(watched.checked_at),
            standing: format!("{} in {repositories}", counted(count(image.targets), "image")),
            outdated: image.outdated,
            digest: watched.digest,
            problem: watched.problem,
            access: Some(watched.key.access).filter(|access| !access.is_empty()),
            name: image.familiar,
        }
    }
}
