//! One wave: what moved, how far its rebuilds are, and its steering by administrators.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use serde::Deserialize;

use super::{
    image_path, source_in_words, tags_of,
    waves::{count_of, icon, item_icon, progress, title},
};
use crate::{
    domain::{
        ids::WaveItemId,
        wave::{ItemState, WaveState},
    },
    web::{
        Web,
        audit::Origin,
        base_images::{self, ItemView, MoveView, WaveDetail, WaveView},
        pages::{
            form::Submitted,
            notice::Notice,
            page::{PageResult, done, render, sentence},
            viewer::Viewer,
            words::When,
        },
        parameters::{Query, Segments},
        problem::Problem,
    },
};

/// Width of the bar, in the units of the drawing.
const BAR: i64 = 1000;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/waves/{id}", get(page))
        .route("/waves/{id}/pause", post(pause))
        .route("/waves/{id}/resume", post(resume))
        .route("/waves/{id}/throttle", post(throttle))
        .route("/waves/{id}/cancel", post(cancel))
}

#[derive(Template)]
#[template(path = "bases/wave.html")]
struct WavePage {
    viewer: Viewer,
    id: String,
    /// The stream that tells of changes.
    live: String,
    title: String,
    icon: &'static str,
    state: &'static str,
    created: When,
    ended: Option<When>,
    /// Until when more moves join it, while they do.
    settles: Option<When>,
    steered_by: Option<String>,
    progress: String,
    segments: Vec<Segment>,
    moves: Vec<Moved>,
    items: Vec<Item>,
    may_steer: bool,
    is_running: bool,
    is_paused: bool,
    at_once: Option<i64>,
}

/// A part of the bar.
#[derive(Debug, PartialEq, Eq)]
struct Segment {
    icon: &'static str,
    x: i64,
    width: i64,
}

struct Moved {
    name: String,
    href: String,
    from: Option<String>,
    to: String,
    parent: Option<String>,
    /// By a build of the wave itself.
    is_inner: bool,
}

struct Item {
    icon: &'static str,
    state: &'static str,
    repository: String,
    source: String,
    tags: Vec<String>,
    /// A few words, or none.
    reason: String,
    /// What it waits for, while it waits.
    waits_for: Vec<String>,
    build: Option<(String, i64)>,
}

async fn page(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
) -> PageResult {
    let WaveDetail { wave, pushed, items } = base_images::wave(&web, &viewer.caller, &id).await?;
    let now = viewer.now;
    let moves = wave.moves.iter().map(|moved| (moved, false));
    let moves = moves.chain(pushed.iter().map(|moved| (moved, true)));
    render(&WavePage {
        live: format!("/live/waves/{}", wave.id),
        id: wave.id.to_string(),
        title: title(&wave),
        icon: icon(wave.state),
        state: wave.state.as_str(),
        created: When::new(wave.created_at, now),
        ended: wave.ended_at.map(|at| When::new(at, now)),
        settles: (wave.state == WaveState::Settling).then(|| When::new(wave.settles_at, now)),
        steered_by: steered_by(&wave),
        progress: sentence(&progress(&wave)),
        segments: segments(&wave),
        moves: moves.map(|(moved, is_inner)| Moved::new(moved, is_inner)).collect(),
        items: show(items),
        may_steer: viewer.is_admin() && wave.state.is_open(),
        is_running: wave.state == WaveState::Running,
        is_paused: wave.state == WaveState::Paused,
        at_once: wave.at_once,
        viewer,
    })
}

/// Who brought it into its present state, where a person did.
fn steered_by(wave: &WaveView) -> Option<String> {
    let by = wave.steered_by.as_ref()?;
    match wave.state {
        WaveState::Paused => Some(format!("paused by {by}")),
        WaveState::Canceled => Some(format!("canceled by {by}")),
        WaveState::Running => Some(format!("resumed by {by}")),
        WaveState::Settling | WaveState::Done => None,
    }
}

/// The bar: what has ended from the left, what waits is left free.
fn segments(wave: &WaveView) -> Vec<Segment> {
    let all: i64 = wave.counts.iter().map(|(_, count)| count).sum();
    let order = [
        ItemState::Done,
        ItemState::Skipped,
        ItemState::Failed,
        ItemState::Held,
        ItemState::Canceled,
        ItemState::Building,
    ];
    let mut before = 0;
    let segments = order.into_iter().filter_map(|state| {
        let count = count_of(wave, state);
        let (x, end) = (before * BAR / all.max(1), (before + count) * BAR / all.max(1));
        before += count;
        (count > 0).then(|| Segment {
            icon: item_icon(state),
            x,
            width: end - x,
        })
    });
    segments.collect()
}

impl Moved {
    fn new(moved: &MoveView, is_inner: bool) -> Self {
        Self {
            name: moved.familiar.clone(),
            href: image_path(&moved.familiar),
            from: moved.from.clone(),
            to: moved.to.clone(),
            parent: moved.parent.as_ref().map(ToString::to_string),
            is_inner,
        }
    }
}

fn show(items: Vec<ItemView>) -> Vec<Item> {
    let name = |item: &ItemView| format!("{} ({})", item.repository, item.source_name);
    let unfinished: HashMap<WaveItemId, String> = items
        .iter()
        .filter(|item| !item.state.is_final())
        .map(|item| (item.id.clone(), name(item)))
        .collect();
    let show = |item: ItemView| Item {
        icon: item_icon(item.state),
        state: item.state.as_str(),
        repository: item.repository.to_string(),
        source: source_in_words(item.source_type, &item.source_name),
        tags: tags_of(&item.makes),
        reason: item.reason,
        waits_for: match item.state {
            ItemState::Waiting => {
                let after = item.after.iter();
                after.filter_map(|id| unfinished.get(id).cloned()).collect()
            }
            _ => vec![],
        },
        build: item.build.map(|build| (build.id.to_string(), build.number)),
    };
    items.into_iter().map(show).collect()
}

/// Where steering leads: back to the wave, with what was done, or why it was not.
fn steered(id: &str, outcome: Result<(), Problem>, said: &str) -> Result<Response, Problem> {
    let notice = match outcome {
        Ok(()) => Notice::good(said),
        // It ended or was steered by somebody else meanwhile, or the number is none: no mistake that needs a page of its own.
        Err(problem) if problem.status() == http::StatusCode::CONFLICT => Notice::bad(sentence(problem.detail())),
        Err(problem) => return Err(problem),
    };
    Ok(done(&format!("/waves/{id}"), &notice))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

async fn pause(
    State(web): State<Web>,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    Submitted {
        viewer,
        form: NoFields {},
    }: Submitted<NoFields>,
) -> PageResult {
    let outcome = base_images::pause(&web, (&viewer.caller, &origin), &id, true).await;
    steered(
        &id,
        outcome,
        "The wave is paused: it starts nothing new until it is resumed.",
    )
}

async fn resume(
    State(web): State<Web>,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    Submitted {
        viewer,
        form: NoFields {},
    }: Submitted<NoFields>,
) -> PageResult {
    let outcome = base_images::pause(&web, (&viewer.caller, &origin), &id, false).await;
    steered(&id, outcome, "The wave goes on.")
}

async fn cancel(
    State(web): State<Web>,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    Submitted {
        viewer,
        form: NoFields {},
    }: Submitted<NoFields>,
) -> PageResult {
    let outcome = base_images::cancel(&web, (&viewer.caller, &origin), &id).await;
    steered(&id, outcome, "The wave was canceled.")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThrottleForm {
    /// Empty: as the server is set.
    at_once: String,
}

async fn throttle(
    State(web): State<Web>,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<ThrottleForm>,
) -> PageResult {
    viewer.caller.admin()?;
    let at_once = match form.at_once.trim() {
        "" => Ok(None),
        text => text.parse().map(Some),
    };
    let refused = || Notice::bad("That was not set: builds at once are a number above 0, or nothing.");
    let Ok(at_once) = at_once else {
        return Ok(done(&format!("/waves/{id}"), &refused()));
    };
    match base_images::throttle(&web, (&viewer.caller, &origin), &id, at_once).await {
        Err(problem) if problem.status() == http::StatusCode::UNPROCESSABLE_ENTITY => {
            Ok(done(&format!("/waves/{id}"), &refused()))
        }
        outcome => {
            let said = match at_once {
                Some(1) => "One of its builds is under way at once from now on.".to_owned(),
                Some(count) => format!("At most {count} of its builds are under way at once from now on."),
                None => "Its builds are no longer bounded by themselves.".to_owned(),
            };
            steered(&id, outcome, &said)
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::ids::WaveId;

    #[test]
    fn the_bar_is_full_when_everything_has_ended() {
        let mut wave = WaveView {
            id: WaveId::from("w"),
            state: WaveState::Running,
            created_at: DateTime::UNIX_EPOCH,
            settles_at: DateTime::UNIX_EPOCH,
            ended_at: None,
            at_once: None,
            steered_by: None,
            moves: vec![],
            counts: vec![(ItemState::Done, 1), (ItemState::Building, 1), (ItemState::Waiting, 1)],
        };
        let segment = |icon, x, width| Segment { icon, x, width };
        assert_eq!(
            segments(&wave),
            [segment("succeeded", 0, 333), segment("running", 333, 333)]
        );
        wave.counts = vec![(ItemState::Done, 2), (ItemState::Failed, 1)];
        assert_eq!(
            segments(&wave),
            [segment("succeeded", 0, 666), segment("failed", 666, 334)]
        );
        wave.counts = vec![];
        assert_eq!(segments(&wave), []);
    }
}
