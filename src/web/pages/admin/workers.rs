//! The machines that build: what each does, what is on its disk and in its engine, pausing and cleaning up.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use crate::{
    domain::{audit::Action, build::Status, disk::CleanUp, ids::WorkerId},
    store::{Build, BuildFilter, RequestedCleanUp, Sight, Worker},
    web::{
        Web,
        api::builds::alive_since,
        audit::Origin,
        pages::{
            form::Submitted,
            notice::Notice,
            page::{PageResult, done, render},
            viewer::Viewer,
            words::{When, size},
        },
        parameters::Query,
        problem::Problem,
    },
};

const PATH: &str = "/admin/workers";

/// A worker that was silent for longer is not shown any more.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(30);

/// Running builds and clean-ups that are shown.
const SHOWN: u32 = 100;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(PATH, get(show))
        .route("/admin/workers/pause", post(pause))
        .route("/admin/workers/clean-up", post(clean_up))
}

#[derive(Template)]
#[template(path = "admin/workers.html")]
struct WorkersPage {
    viewer: Viewer,
    queued: i64,
    workers: Vec<Row>,
    clean_ups: Vec<CleanUpRow>,
    kinds: [CleanUp; 3],
}

struct Row {
    id: String,
    name: String,
    is_alive: bool,
    paused: bool,
    concurrency: i64,
    started: When,
    seen: When,
    builds: Vec<Running>,
    disk: Option<Disk>,
}

struct Running {
    id: String,
    title: String,
    phase: &'static str,
}

/// Sizes, for a person to read.
struct Disk {
    looked: When,
    rows: Vec<(&'static str, String)>,
}

struct CleanUpRow {
    kind: &'static str,
    worker: String,
    requested_by: String,
    requested: When,
    state: &'static str,
    result: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseForm {
    worker: String,
    paused: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CleanUpForm {
    worker: String,
    kind: CleanUp,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    viewer.caller.admin()?;
    let now = viewer.now;
    let running = BuildFilter {
        status: Some(Status::Running),
        sight: Sight::Everything,
        limit: SHOWN,
        ..BuildFilter::default()
    };
    let running = web.store.builds(&running).await?;
    let workers = web.store.workers_since(now - FORGOTTEN_AFTER).await?;
    let clean_ups = web.store.clean_ups(SHOWN).await?;
    let counts = web.store.count_builds().await?;
    let queued = counts.iter().find(|(status, _)| *status == Status::Queued);
    render(&WorkersPage {
        queued: queued.map_or(0, |(_, count)| *count),
        clean_ups: clean_ups
            .into_iter()
            .map(|asked| CleanUpRow::new(asked, &workers, now))
            .collect(),
        workers: workers
            .into_iter()
            .map(|worker| Row::new(worker, &running, now))
            .collect(),
        viewer,
        kinds: CleanUp::ALL,
    })
}

impl Row {
    fn new(worker: Worker, running: &[Build], now: DateTime<Utc>) -> Self {
        let own = running
            .iter()
            .filter(|build| build.worker_id.as_ref() == Some(&worker.id));
        let disk = worker.disk.map(|found| {
            let mut rows = vec![
                ("Free", format!("{} of {}", size(found.free), size(found.total))),
                ("Database", size(found.database)),
                ("Sealed logs", size(found.logs)),
                ("Source mirrors", size(found.mirrors)),
            ];
            if let Some(engine) = found.engine {
                rows.push((
                    "Engine's images",
                    format!("{} in {}", size(engine.image_bytes), engine.images),
                ));
                let idle = size(engine.idle_cache_bytes);
                rows.push((
                    "Build cache",
                    format!("{}, {idle} of it idle", size(engine.cache_bytes)),
                ));
            }
            Disk {
                looked: When::new(found.looked_at, now),
                rows,
            }
        });
        Self {
            builds: own
                .map(|build| Running {
                    id: build.id.to_string(),
                    title: format!("{} #{}", build.repository, build.number),
                    phase: build.phase.map_or("", |phase| phase.as_str()),
                })
                .collect(),
            id: worker.id.to_string(),
            name: worker.name,
            is_alive: worker.last_seen_at >= alive_since(now),
            paused: worker.paused,
            concurrency: worker.concurrency,
            started: When::new(worker.started_at, now),
            seen: When::new(worker.last_seen_at, now),
            disk,
        }
    }
}

impl CleanUpRow {
    fn new(asked: RequestedCleanUp, workers: &[Worker], now: DateTime<Utc>) -> Self {
        let worker = workers.iter().find(|worker| worker.id == asked.worker);
        Self {
            kind: asked.kind.words(),
            worker: worker.map_or_else(|| asked.worker.to_string(), |worker| worker.name.clone()),
            requested_by: asked.requested_by,
            requested: When::new(asked.requested_at, now),
            state: match (asked.started_at, asked.finished_at) {
                (_, Some(_)) => "done",
                (Some(_), None) => "running",
                (None, None) => "waits for the worker",
            },
            result: asked.result,
        }
    }
}

/// The worker of this id, or 404.
async fn find(web: &Web, viewer: &Viewer, id: &str) -> Result<Worker, Problem> {
    let workers = web.store.workers_since(viewer.now - FORGOTTEN_AFTER).await?;
    let found = workers.into_iter().find(|worker| worker.id.as_str() == id);
    found.ok_or_else(|| Problem::not_found("worker"))
}

async fn pause(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<PauseForm>,
) -> PageResult {
    let actor = origin.actor(&viewer.caller.admin()?.name);
    let worker = find(&web, &viewer, &form.worker).await?;
    if !web
        .store
        .pause_worker(&WorkerId::from(form.worker.as_str()), form.paused)
        .await?
    {
        return Err(Problem::not_found("worker"));
    }
    web.signals.queue_changed();
    let (action, said) = match form.paused {
        true => (
            Action::WorkerPaused,
            format!("{} finishes what it does and takes nothing new.", worker.name),
        ),
        false => (Action::WorkerResumed, format!("{} takes builds again.", worker.name)),
    };
    web.note(actor.did(action, &worker.name, "", json!({}))).await;
    Ok(done(PATH, &Notice::good(said)))
}

async fn clean_up(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<CleanUpForm>,
) -> PageResult {
    let by = &viewer.caller.admin()?.name;
    let worker = find(&web, &viewer, &form.worker).await?;
    let asked = web
        .store
        .request_clean_up(&worker.id, form.kind, by, viewer.now)
        .await?;
    if !asked {
        return Ok(done(PATH, &Notice::bad("The same clean-up is on its way already.")));
    }
    web.signals.clean_up_requested();
    let detail = json!({ "kind": form.kind.as_str() });
    web.note(origin.actor(by).did(Action::CleanUpRequested, &worker.name, "", detail))
        .await;
    let said = format!("{} was asked to remove {}.", worker.name, form.kind.words());
    Ok(done(PATH, &Notice::good(said)))
}
