//! What the script of the build page asks for: windows of the log's lines, its outline, what is found in it, and lines as
//! they are written. Lines go out as text with names of styles, never as markup. They count from 1 here, as people do.

use std::{convert::Infallible, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::{
    domain::{build::Status, ids::BuildId},
    logs::{
        ansi::ShownLine,
        chunks::ReadError,
        hub::Subscription,
        lines::{Found, MAX_WINDOW, Needle, Outline, Window},
    },
    web::{
        Web,
        api::builds::{still_visible, visible_build},
        auth::Caller,
        entitlement::{Credentials, while_entitled},
        parameters::{FromParameters, Parameters, Query, Segments},
        problem::{FieldError, Problem},
    },
};

/// Lines of a window unless asked for otherwise.
const WINDOW: u64 = 200;

/// Newest lines that are sent at once to those who watch a log grow; a faster log is fetched in windows where it is looked
/// at.
const TAIL: u64 = 100;

/// How often a stream says something while there is nothing to say, so that what is in between keeps it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where a viewer that was cut off says how far it got.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/builds/{id}/log/lines", get(lines))
        .route("/builds/{id}/log/outline", get(outline))
        .route("/builds/{id}/log/search", get(search))
        .route("/builds/{id}/log/stream", get(stream_lines))
}

/// A run of text; with the names of its classes where it has any.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum SpanDocument {
    Plain(String),
    Styled(String, String),
}

#[derive(Debug, Serialize)]
struct LinesDocument {
    /// The number of the first of the lines.
    from: u64,
    lines: Vec<Vec<SpanDocument>>,
    total: u64,
    /// The last line has no end yet and will come again.
    open: bool,
    ended: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct SectionDocument {
    /// The number of its first line.
    first: u64,
    /// The step that it shows; null for what stands outside of the steps.
    step: Option<u32>,
    title: String,
    outcome: &'static str,
    took: Option<String>,
}

#[derive(Debug, Serialize)]
struct OutlineDocument {
    total: u64,
    open: bool,
    ended: bool,
    first_error: Option<u64>,
    sections: Vec<SectionDocument>,
}

#[derive(Debug, Serialize)]
struct FoundDocument {
    /// The numbers of the lines with hits.
    lines: Vec<u64>,
    /// The line to go on from.
    next: Option<u64>,
}

/// The runs of a line as a page shows them: names of classes and text, with a word on what was cut off.
pub fn runs_of(line: ShownLine) -> Vec<(String, String)> {
    let mut runs: Vec<(String, String)> = line
        .spans
        .into_iter()
        .map(|span| (span.style.classes(), span.text))
        .collect();
    if line.cut > 0 {
        let note = format!(" … {} more characters, in the raw log", line.cut);
        runs.push(("x".to_owned(), note));
    }
    runs
}

impl From<Window> for LinesDocument {
    fn from(window: Window) -> Self {
        let span = |(classes, text): (String, String)| match classes.is_empty() {
            true => SpanDocument::Plain(text),
            false => SpanDocument::Styled(classes, text),
        };
        Self {
            from: window.from + 1,
            lines: window
                .lines
                .into_iter()
                .map(|line| runs_of(line).into_iter().map(span).collect())
                .collect(),
            total: window.extent.lines,
            open: window.extent.open,
            ended: window.extent.ended,
        }
    }
}

impl From<Outline> for OutlineDocument {
    fn from(outline: Outline) -> Self {
        Self {
            total: outline.extent.lines,
            open: outline.extent.open,
            ended: outline.extent.ended,
            first_error: outline.first_error.map(|line| line + 1),
            sections: outline
                .sections
                .into_iter()
                .map(|section| SectionDocument {
                    first: section.first + 1,
                    step: section.step,
                    title: section.title,
                    outcome: section.outcome.as_str(),
                    took: section.took,
                })
                .collect(),
        }
    }
}

impl From<Found> for FoundDocument {
    fn from(found: Found) -> Self {
        Self {
            lines: found.lines.into_iter().map(|line| line + 1).collect(),
            next: found.next.map(|line| line + 1),
        }
    }
}

/// The number of a line, from a parameter; counted from 0 as the log does.
pub fn line_parameter(parameters: &mut Parameters, name: &'static str) -> Result<Option<u64>, FieldError> {
    let Some(text) = parameters.take(name)? else {
        return Ok(None);
    };
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=u64::from(u32::MAX)).contains(number));
    match number {
        Some(number) => Ok(Some(number - 1)),
        None => Err(FieldError::new(name, "it is the number of a line, from 1 on")),
    }
}

struct WindowParameters {
    from: u64,
    count: u64,
}

impl FromParameters for WindowParameters {
    const NAMES: &'static [&'static str] = &["from", "count"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let from = line_parameter(parameters, "from")?.unwrap_or(0);
        let count = match parameters.take("count")? {
            None => WINDOW,
            Some(text) => text
                .parse()
                .ok()
                .filter(|count| (1..=MAX_WINDOW).contains(count))
                .ok_or_else(|| FieldError::new("count", format!("it is a number of lines, at most {MAX_WINDOW}")))?,
        };
        Ok(Self { from, count })
    }
}

async fn lines(
    State(web): State<Web>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(WindowParameters { from, count }): Query<WindowParameters>,
) -> Result<Json<LinesDocument>, Problem> {
    let build = visible_build(&web, &caller, &id).await?.id;
    Ok(Json(web.logs.window(&build, from, count).await?.into()))
}

async fn outline(
    State(web): State<Web>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
) -> Result<Json<OutlineDocument>, Problem> {
    let build = visible_build(&web, &caller, &id).await?.id;
    Ok(Json(web.logs.outline(&build).await?.into()))
}

struct SearchParameters {
    needle: Needle,
    from: u64,
}

impl FromParameters for SearchParameters {
    const NAMES: &'static [&'static str] = &["q", "from"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let text = parameters.take("q")?.unwrap_or_default();
        let needle = Needle::new(&text);
        Ok(Self {
            needle: needle
                .ok_or_else(|| FieldError::new("q", format!("it is a text of 1 to {} characters", Needle::MAX)))?,
            from: line_parameter(parameters, "from")?.unwrap_or(0),
        })
    }
}

async fn search(
    State(web): State<Web>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(SearchParameters { needle, from }): Query<SearchParameters>,
) -> Result<Json<FoundDocument>, Problem> {
    let build = visible_build(&web, &caller, &id).await?.id;
    Ok(Json(web.logs.search(&build, &needle, from).await?.into()))
}

struct StreamParameters {
    from: u64,
}

impl FromParameters for StreamParameters {
    const NAMES: &'static [&'static str] = &["from"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            from: line_parameter(parameters, "from")?.unwrap_or(0),
        })
    }
}

/// Events as the log grows: `lines` with the newest ones from line `from` on, `outline` when it changes, `end`.
async fn stream_lines(
    State(web): State<Web>,
    caller: Caller,
    credentials: Credentials,
    Segments(id): Segments<String>,
    Query(StreamParameters { from }): Query<StreamParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let build = visible_build(&web, &caller, &id).await?.id;
    let resumed = headers
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    let watcher = Watcher {
        subscription: web.logs.hub().subscribe(&build, &web.logs),
        web: web.clone(),
        build: build.clone(),
        at: resumed.unwrap_or(from),
        seen: None,
        outline: None,
        ended: false,
    };
    let events = stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    let may_still_see = still_visible(&web, &build);
    let events = while_entitled(events, &web, &caller, credentials, may_still_see);
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let not_buffered = (
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(([not_buffered], events).into_response())
}

/// Somebody who watches a log grow.
struct Watcher {
    web: Web,
    build: BuildId,
    subscription: Subscription,
    /// The next line to send, counted from 0.
    at: u64,
    /// The size of the log, in bytes, of which the lines were sent.
    seen: Option<u64>,
    /// As it was sent last.
    outline: Option<Outline>,
    ended: bool,
}

impl Watcher {
    /// The next event; none after the end, or where the viewer has to come back and resume.
    async fn next(&mut self) -> Option<Event> {
        while !self.ended {
            self.subscription.mark_seen();
            match self.news().await {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                // It cannot be read now: the viewer resumes.
                Err(_) => return None,
            }
            tokio::select! {
                () = self.subscription.changed() => {}
                () = self.web.shutdown.cancelled() => return None,
            }
        }
        None
    }

    async fn news(&mut self) -> Result<Option<Event>, ReadError> {
        let outline = self.web.logs.outline(&self.build).await?;
        let is_news = self
            .outline
            .as_ref()
            .is_none_or(|sent| sent.sections != outline.sections || sent.first_error != outline.first_error);
        if is_news {
            self.outline = Some(outline.clone());
            return Ok(event("outline", self.at, &OutlineDocument::from(outline)));
        }
        if self.seen != Some(outline.extent.size()) {
            let from = self.at.max(outline.extent.lines.saturating_sub(TAIL));
            let window = self.web.logs.window(&self.build, from, TAIL).await?;
            let end = window.from + window.lines.len() as u64;
            let is_all = end >= window.extent.lines;
            self.at = end - u64::from(is_all && window.extent.open && end > 0);
            self.seen = is_all.then(|| window.extent.size());
            return Ok(event("lines", self.at, &LinesDocument::from(window)));
        }
        if outline.extent.ended {
            self.ended = true;
            let status = match self.web.store.build(&self.build).await {
                Ok(Some(build)) => build.status,
                // Deleted meanwhile, or not to be read: either way the page is loaded again.
                _ => Status::Canceled,
            };
            return Ok(event("end", self.at, &serde_json::json!({ "status": status })));
        }
        Ok(None)
    }
}

fn event(name: &str, at: u64, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).id(at.to_string()).json_data(data).ok()
}
