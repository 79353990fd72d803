//! Logs of builds: whole, as they grow, and as events that can be resumed. A viewer that stops reading costs the build
//! nothing, and an idle one holds no connection to the database.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    builds::{still_visible, visible_build},
    text_pieces::TextPieces,
};
use crate::{
    build_log::BuildLogs,
    domain::ids::BuildId,
    logs::{
        chunks::{ChunkReader, ReadError},
        follow::{LogPiece, follow},
    },
    web::{
        Web,
        auth::Caller,
        entitlement::{Credentials, while_entitled},
        parameters::{FromParameters, IdPath, Parameters, Query, Segments},
        problem::{FieldError, Problem},
    },
};

/// How often an event stream says something while there is nothing to say, so that what is in between keeps it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The largest piece that is read at once, in bytes.
const PIECE: usize = 256 << 10;

/// Where a viewer that was cut off says how far it got.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(read))
}

struct LogParameters {
    follow: bool,
    after: u64,
}

impl FromParameters for LogParameters {
    const NAMES: &'static [&'static str] = &["follow", "after"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let after = match parameters.take("after")? {
            None => 0,
            Some(text) => offset(&text).ok_or_else(|| FieldError::new("after", OFFSET))?,
        };
        Ok(Self {
            follow: parameters.take_flag("follow")?,
            after,
        })
    }
}

const OFFSET: &str = "it is the id of an event: a number of bytes";

fn offset(text: &str) -> Option<u64> {
    // Beyond what the database can count to.
    text.parse().ok().filter(|offset| i64::try_from(*offset).is_ok())
}

/// The log of a build: as text, up to now or until the end; or as events (`Accept: text/event-stream`). The events `log`
/// carry the text, and an id to resume from; `end` says how the build ended.
#[utoipa::path(get, path = "/api/v1/builds/{id}/log", tag = "builds",
    operation_id = "read_log", params(
    IdPath,
    ("follow" = Option<bool>, Query, description = "Stay until the build ends"),
    ("after" = Option<u64>, Query, description = "Begin after this many bytes; the header Last-Event-ID goes before"),
), responses(
    (status = 200, content((String = "text/plain"), (String = "text/event-stream"))),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn read(
    State(web): State<Web>,
    caller: Caller,
    credentials: Credentials,
    Segments(id): Segments<String>,
    Query(parameters): Query<LogParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let build = visible_build(&web, &caller, &id).await?.id;
    let may_still_see = still_visible(&web, &build);
    if wants_events(&headers) {
        let after = match headers.get(LAST_EVENT_ID) {
            None => parameters.after,
            Some(value) => {
                let told = value.to_str().ok().and_then(offset);
                told.ok_or_else(|| Problem::field("Last-Event-ID", OFFSET))?
            }
        };
        let events = while_entitled(
            events(web.clone(), build, after),
            &web,
            &caller,
            credentials,
            may_still_see,
        );
        return Ok(as_events(events).into_response());
    }
    let body = match parameters.follow {
        true => {
            let pieces = followed(&web, build, parameters.after).map(|piece| piece.map(|p| Bytes::from(p.bytes)));
            Body::from_stream(while_entitled(pieces, &web, &caller, credentials, may_still_see))
        }
        false => Body::from_stream(up_to_now(web.logs.clone(), build, parameters.after).await?),
    };
    Ok((
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), NOT_BUFFERED],
        body,
    )
        .into_response())
}

/// Tells proxies that a stream is to be passed on as it comes.
const NOT_BUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let media_type = kind.split(';').next().unwrap_or_default().trim();
        media_type.eq_ignore_ascii_case("text/event-stream")
    })
}

/// A log as it grows, until it or this process ends.
fn followed(
    web: &Web,
    build: BuildId,
    after: u64,
) -> Pin<Box<dyn Stream<Item = Result<LogPiece, ReadError>> + Send + 'static>> {
    let shutdown = web.shutdown.clone();
    Box::pin(
        follow(web.logs.clone(), web.logs.hub(), build, after).take_until(async move { shutdown.cancelled().await }),
    )
}

/// A log as far as it has come, read while it is sent.
async fn up_to_now(
    logs: Arc<BuildLogs>,
    build: BuildId,
    after: u64,
) -> Result<impl Stream<Item = Result<Bytes, ReadError>>, Problem> {
    let size = logs.extent(&build).await?.size;
    Ok(stream::try_unfold(after, move |at| {
        let (logs, build) = (logs.clone(), build.clone());
        async move {
            let wanted = usize::try_from(size.saturating_sub(at)).unwrap_or(PIECE).min(PIECE);
            if wanted == 0 {
                return Ok(None);
            }
            let bytes = logs.read(&build, at, wanted).await?.bytes;
            let next = at + bytes.len() as u64;
            Ok((!bytes.is_empty()).then(|| (Bytes::from(bytes), next)))
        }
    }))
}

fn events(web: Web, build: BuildId, after: u64) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let pieces = followed(&web, build.clone(), after);
    let state = EventState {
        web,
        build,
        pieces,
        text: TextPieces::default(),
        at: after,
        ended: false,
    };
    stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok::<_, Infallible>(event), state))
    })
}

fn as_events(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> impl IntoResponse {
    let (name, value) = NOT_BUFFERED;
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    ([(name, HeaderValue::from_static(value))], events)
}

struct EventState {
    web: Web,
    build: BuildId,
    pieces: Pin<Box<dyn Stream<Item = Result<LogPiece, ReadError>> + Send>>,
    text: TextPieces,
    /// How many bytes of the log have been given out.
    at: u64,
    ended: bool,
}

impl EventState {
    /// The next event; none after the end, or where the viewer has to come back and resume.
    async fn next(&mut self) -> Option<Event> {
        while !self.ended {
            match self.pieces.next().await {
                Some(Ok(piece)) => {
                    let (text, left) = self.text.push(&piece.bytes);
                    self.at = piece.offset + piece.bytes.len() as u64 - left as u64;
                    if !text.is_empty() {
                        return Some(log_event(&text, self.at));
                    }
                }
                // It cannot be read now, or the process ends: the viewer resumes, here or elsewhere.
                Some(Err(_)) => return None,
                None if self.web.shutdown.is_cancelled() => return None,
                None => {
                    if let Some(text) = self.text.finish() {
                        return Some(log_event(&text, self.at));
                    }
                    self.ended = true;
                    return self.end_event().await;
                }
            }
        }
        None
    }

    async fn end_event(&mut self) -> Option<Event> {
        let build = self.web.store.build(&self.build).await.ok()??;
        let data = json!({"status": build.status, "error": build.failure}).to_string();
        Some(Event::default().event("end").id(self.at.to_string()).data(data))
    }
}

fn log_event(text: &str, at: u64) -> Event {
    Event::default().event("log").id(at.to_string()).data(text)
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::not_found("log"),
            ReadError::Unavailable(_) => {
                let detail = "the log cannot be read now";
                Self::new(http::StatusCode::SERVICE_UNAVAILABLE, detail).retry_later()
            }
            ReadError::Corrupt(_) => Self::internal(&error),
        }
    }
}
