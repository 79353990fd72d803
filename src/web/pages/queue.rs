//! The queue: what runs where, what waits for what, and about when it will start. Of private builds of others nothing is shown
//! but that they are there: they explain why one's own has to wait.

use std::{cmp::Reverse, collections::BinaryHeap};

use askama::Template;
use axum::{Router, extract::State, routing::get};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    build_list::BuildRow,
    page::{PageResult, render},
    viewer::Viewer,
    words::When,
};
use crate::{
    domain::{access::Role, build::Status, engine_health::EngineHealth, ids::BuildId},
    store::{Build, BuildFilter, Sight, Worker},
    web::{
        Web,
        api::builds::{Workers, alive_since},
        parameters::{FromParameters, Parameters, Query},
        problem::{FieldError, Problem},
    },
};

/// Waiting builds of one page.
const PAGE: u32 = 50;

/// Running builds that are shown.
const MOST_RUNNING: u32 = 200;

/// Builds whose mean duration is taken for everybody's.
const SAMPLE: u32 = 20;

/// Sorts before every id.
const BEFORE_EVERY_ID: &str = "";

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/queue", get(page))
}

struct QueueParameters {
    after: Option<BuildId>,
}

impl FromParameters for QueueParameters {
    const NAMES: &'static [&'static str] = &["after"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let after = parameters.take_id("after", "it is where another page of the queue ends")?;
        Ok(Self {
            after: after.map(BuildId::from),
        })
    }
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    viewer: Viewer,
    workers: Vec<WorkerView>,
    /// Why no worker builds here now.
    no_engine: Option<String>,
    waiting: Vec<Item>,
    is_first_page: bool,
    more: Option<String>,
}

/// A process that builds, with what it builds.
struct WorkerView {
    name: String,
    /// How long ago a worker was seen that is silent.
    silent_since: Option<When>,
    free: i64,
    builds: Vec<Item>,
}

/// One build.
struct Item {
    /// None: it is private, and not the viewer's to see.
    build: Option<BuildRow>,
    position: Option<i64>,
    /// About when it starts.
    starts: Option<When>,
    may_cancel: bool,
}

async fn page(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<QueueParameters>) -> PageResult {
    let in_state = |status, limit| BuildFilter {
        status: Some(status),
        // What may be seen of each is decided below.
        sight: Sight::Everything,
        after: parameters
            .after
            .clone()
            .or_else(|| Some(BuildId::from(BEFORE_EVERY_ID))),
        limit,
        ..BuildFilter::default()
    };
    let running = BuildFilter {
        after: None,
        ..in_state(Status::Running, MOST_RUNNING)
    };
    let running = web.store.builds(&running).await?;
    let mut waiting = web.store.builds(&in_state(Status::Queued, PAGE + 1)).await?;
    waiting.reverse();
    let has_more = waiting.len() > PAGE as usize;
    waiting.truncate(PAGE as usize);
    let is_first_page = parameters.after.is_none();
    let workers = web.store.workers_since(DateTime::UNIX_EPOCH).await?;
    let starts = match is_first_page {
        true => starts(&web, &viewer, &workers, &running, waiting.len()).await?,
        false => vec![],
    };
    let words = Workers::look_up(&web).await?;
    let more = waiting
        .last()
        .filter(|_| has_more)
        .map(|last| format!("/queue?after={}", last.id));
    let waiting = waiting.into_iter().enumerate().map(|(index, build)| Item {
        // One that starts now needs no telling.
        starts: starts
            .get(index)
            .filter(|at| **at > viewer.now)
            .map(|at| When::new(*at, viewer.now)),
        ..Item::new(build, &words, &viewer)
    });
    render(&QueuePage {
        waiting: waiting.collect(),
        workers: worker_views(workers, running, &words, &viewer),
        no_engine: match &*web.engine.borrow() {
            EngineHealth::Down(reason) if web.settings.builds_here => Some(reason.clone()),
            _ => None,
        },
        viewer,
        is_first_page,
        more,
    })
}

impl Item {
    fn new(build: Build, words: &Workers, viewer: &Viewer) -> Self {
        let namespace = build.repository.namespace();
        let may_see = viewer.caller.may_see(namespace, build.visibility);
        Self {
            position: build.queue_position,
            starts: None,
            may_cancel: viewer.caller.has_role(namespace, Role::Write) && !build.cancel_requested,
            build: may_see.then(|| BuildRow::new(build, words, viewer, true)),
        }
    }
}

/// The workers that are alive, and those whose builds are about to be taken over, each with what it builds.
fn worker_views(workers: Vec<Worker>, running: Vec<Build>, words: &Workers, viewer: &Viewer) -> Vec<WorkerView> {
    let mut running: Vec<Option<Build>> = running.into_iter().rev().map(Some).collect();
    let mut views = Vec::new();
    for worker in workers {
        let own = running.iter_mut().filter(|build| {
            build
                .as_ref()
                .is_some_and(|build| build.worker_id.as_ref() == Some(&worker.id))
        });
        let builds: Vec<Item> = own
            .filter_map(Option::take)
            .map(|build| Item::new(build, words, viewer))
            .collect();
        let is_alive = is_alive(&worker, viewer.now);
        if is_alive || !builds.is_empty() {
            views.push(WorkerView {
                silent_since: (!is_alive).then(|| When::new(worker.last_seen_at, viewer.now)),
                free: (worker.concurrency - builds.len() as i64).max(0),
                name: worker.name,
                builds,
            });
        }
    }
    let others: Vec<Item> = running
        .into_iter()
        .flatten()
        .map(|build| Item::new(build, words, viewer))
        .collect();
    if !others.is_empty() {
        views.push(WorkerView {
            name: "a worker that has not told its name yet".to_owned(),
            silent_since: None,
            free: 0,
            builds: others,
        });
    }
    views
}

fn is_alive(worker: &Worker, now: DateTime<Utc>) -> bool {
    worker.concurrency > 0 && worker.last_seen_at >= alive_since(now)
}

/// About when the first `count` of the queue start; empty where nothing can be said.
async fn starts(
    web: &Web,
    viewer: &Viewer,
    workers: &[Worker],
    running: &[Build],
    count: usize,
) -> Result<Vec<DateTime<Utc>>, Problem> {
    let spans = web.store.latest_spans(SAMPLE).await?;
    let Some(usual) = mean(spans.into_iter().map(|(started, finished)| finished - started)) else {
        return Ok(vec![]);
    };
    let slots: i64 = workers
        .iter()
        .filter(|worker| is_alive(worker, viewer.now))
        .map(|worker| worker.concurrency)
        .sum();
    let running = running.iter().filter_map(|build| build.started_at);
    let slots = usize::try_from(slots).unwrap_or_default();
    Ok(estimate(viewer.now, usual, slots, running, count))
}

fn mean(spans: impl Iterator<Item = TimeDelta>) -> Option<TimeDelta> {
    let (count, sum) = spans.fold((0, TimeDelta::zero()), |(count, sum), span| (count + 1, sum + span));
    (count > 0).then(|| sum / count)
}

/// When each of `count` waiting builds starts if all take as long as is usual, on so many places, some of which are taken.
fn estimate(
    now: DateTime<Utc>,
    usual: TimeDelta,
    slots: usize,
    running: impl Iterator<Item = DateTime<Utc>>,
    count: usize,
) -> Vec<DateTime<Utc>> {
    let mut free_at: BinaryHeap<Reverse<DateTime<Utc>>> =
        running.map(|started| Reverse((started + usual).max(now))).collect();
    for _ in free_at.len()..slots {
        free_at.push(Reverse(now));
    }
    let mut starts = Vec::new();
    if slots > 0 {
        while starts.len() < count
            && let Some(Reverse(start)) = free_at.pop()
        {
            starts.push(start);
            free_at.push(Reverse(start + usual));
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn builds_start_one_after_the_other_as_places_become_free() {
        let at = |seconds: i64| Utc.timestamp_opt(1_700_000_000 + seconds, 0).unwrap();
        let check = |slots: usize, running: &[i64], expected: &[i64]| {
            let running = running.iter().map(|started| at(*started));
            let found = estimate(at(0), TimeDelta::seconds(60), slots, running, expected.len());
            assert_eq!(found, expected.iter().map(|s| at(*s)).collect::<Vec<_>>(), "{slots}");
        };
        check(1, &[], &[0, 60, 120]);
        check(1, &[-20], &[40, 100]);
        // One that takes longer than usual may end at any moment.
        check(1, &[-90], &[0, 60]);
        check(2, &[-20], &[0, 40, 60, 100]);
        assert!(estimate(at(0), TimeDelta::seconds(60), 0, std::iter::empty(), 3).is_empty());
        assert_eq!(mean(std::iter::empty()), None);
        let mean = mean([10, 20].into_iter().map(TimeDelta::seconds));
        assert_eq!(mean, Some(TimeDelta::seconds(15)));
    }
}
