//! Streams that tell that what a page shows may have changed. They carry no facts: the page is asked for again, by whoever may
//! see it. So nothing can leak here but the moment of a change.

use std::{
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Web,
    api::builds::{alive_since, visible_build},
    auth::{Caller, visible_repository},
    base_images::wave as visible_wave,
    entitlement::{Credentials, while_entitled},
    parameters::{Query, Segments},
    problem::Problem,
};
use crate::{
    domain::engine_health::EngineHealth,
    store::{Activity, ActivityOf, StoreError},
};

/// Streams that may be open at once; more pages than these are not kept true by themselves.
const MOST_STREAMS: usize = 1000;

/// How often to look without being told: for what happens in other processes.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Shortest time between two events: whoever watches asks for a page after each.
const PAUSE: Duration = Duration::from_millis(200);

/// How often a stream says something while there is nothing to say, so that what is in between keeps it open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells proxies that a stream is to be passed on as it comes.
const NOT_BUFFERED: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

/// Room for streams, shared by all of them.
pub struct LiveStreams(Arc<Semaphore>);

impl Default for LiveStreams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_STREAMS)))
    }
}

impl LiveStreams {
    fn reserve(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            let detail = "too many pages are watched now; this one shows changes when it is loaded again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_later()
        })
    }
}

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/live/builds", get(builds))
        .route("/live/queue", get(queue))
        .route("/live/builds/{id}", get(build))
        .route("/live/base-images", get(base_images))
        .route("/live/waves/{id}", get(wave))
        .route("/live/repositories/{namespace}/{name}", get(repository))
}

async fn builds(
    State(web): State<Web>,
    caller: Caller,
    Query(()): Query<()>,
    headers: HeaderMap,
    credentials: Credentials,
) -> Result<Response, Problem> {
    let watch = Watch::new(&web, ActivityOf::Everything, &headers)?;
    Ok(watch.stream(&caller, credentials, |_| async { Ok(()) }))
}

async fn queue(
    State(web): State<Web>,
    caller: Caller,
    Query(()): Query<()>,
    headers: HeaderMap,
    credentials: Credentials,
) -> Result<Response, Problem> {
    let watch = Watch {
        with_workers: true,
        ..Watch::new(&web, ActivityOf::Everything, &headers)?
    };
    Ok(watch.stream(&caller, credentials, |_| async { Ok(()) }))
}

async fn repository(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    headers: HeaderMap,
    credentials: Credentials,
) -> Result<Response, Problem> {
    let repository = visible_repository(&web, &caller, &name).await?;
    let watch = Watch::new(&web, ActivityOf::Repository(repository.id), &headers)?;
    Ok(watch.stream(&caller, credentials, move |caller| {
        let (web, name) = (web.clone(), name.clone());
        async move { visible_repository(&web, &caller, &name).await.map(drop) }
    }))
}

async fn build(
    State(web): State<Web>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    headers: HeaderMap,
    credentials: Credentials,
) -> Result<Response, Problem> {
    let build = visible_build(&web, &caller, &id).await?;
    let watch = Watch::new(&web, ActivityOf::Build(build.id), &headers)?;
    Ok(watch.stream(&caller, credentials, move |caller| {
        let (web, id) = (web.clone(), id.clone());
        async move { visible_build(&web, &caller, &id).await.map(drop) }
    }))
}

async fn base_images(
    State(web): State<Web>,
    caller: Caller,
    Query(()): Query<()>,
    headers: HeaderMap,
    credentials: Credentials,
) -> Result<Response, Problem> {
    let watch = Watch::new(&web, ActivityOf::BaseImages, &headers)?;
    Ok(watch.stream(&caller, credentials, |_| async { Ok(()) }))
}

async fn wave(
    State(web): State<Web>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    headers: HeaderMap,
    credentials: Credentials,
) -> Result<Response, Problem> {
    let wave = visible_wave(&web, &caller, &id).await?.wave.id;
    let watch = Watch::new(&web, ActivityOf::Wave(wave), &headers)?;
    Ok(watch.stream(&caller, credentials, move |caller| {
        let (web, id) = (web.clone(), id.clone());
        async move { visible_wave(&web, &caller, &id).await.map(drop) }
    }))
}

/// One page that is watched.
struct Watch {
    web: Web,
    of: ActivityOf,
    /// Whether the page shows the workers too.
    with_workers: bool,
    /// What was told of last, as the id of an event.
    told: Option<String>,
    is_over: bool,
    _room: OwnedSemaphorePermit,
}

impl Watch {
    /// A stream that was cut off tells where it was; any other is told at once to look, since something may have changed
    /// between the page and the stream.
    fn new(web: &Web, of: ActivityOf, headers: &HeaderMap) -> Result<Self, Problem> {
        let told = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        Ok(Self {
            of,
            with_workers: false,
            told: told.map(str::to_owned),
            is_over: false,
            _room: web.live.reserve()?,
            web: web.clone(),
        })
    }

    fn stream<F>(
        self,
        caller: &Caller,
        credentials: Credentials,
        may_still: impl Fn(Caller) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = Result<(), Problem>> + Send + 'static,
    {
        let web = self.web.clone();
        let changes = stream::unfold(self, |mut watch| async move {
            let event = watch.next().await?;
            Some((event, watch))
        });
        // Whoever is no longer entitled, and whoever has nothing to wait for any more, is told so, and does not come back.
        let end = stream::iter([Event::default().event("end").data("over")]);
        let shutdown = web.shutdown.clone();
        let events = while_entitled(changes, &web, caller, credentials, may_still)
            .chain(end)
            .take_until(async move { shutdown.cancelled().await })
            .map(Ok::<_, Infallible>);
        (
            [NOT_BUFFERED],
            Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)),
        )
            .into_response()
    }

    /// The next event; none when nothing can change any more.
    async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        if self.told.is_some() {
            tokio::time::sleep(PAUSE).await;
        }
        let signals = self.web.signals.clone();
        loop {
            // First the bell, then the look: what changes in between is heard.
            let rung = signals.on_shown_change(LOOK_EVERY);
            match self.look().await {
                Ok((activity, id)) => {
                    self.is_over = matches!(self.of, ActivityOf::Build(_)) && activity.is_over();
                    if self.told.as_ref() != Some(&id) {
                        self.told = Some(id.clone());
                        return Some(Event::default().event("change").id(id).data("look"));
                    }
                    if self.is_over {
                        return None;
                    }
                }
                // It is looked for again; whoever asks for the page meanwhile is told what is wrong.
                Err(error) => tracing::debug!(%error, "failed to look for changes"),
            }
            rung.await;
        }
    }

    async fn look(&self) -> Result<(Activity, String), StoreError> {
        let activity = self.web.store.activity(&self.of).await?;
        let mut hasher = DefaultHasher::new();
        activity.hash(&mut hasher);
        if self.with_workers {
            for worker in self.web.store.workers_since(alive_since(self.web.clock.now())).await? {
                (worker.id, worker.concurrency, worker.paused).hash(&mut hasher);
            }
            matches!(&*self.web.engine.borrow(), EngineHealth::Down(_)).hash(&mut hasher);
        }
        Ok((activity, format!("{:x}", hasher.finish())))
    }
}
