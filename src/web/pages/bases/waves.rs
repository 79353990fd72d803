//! The waves of rebuilds that followed from moves, the newest first, and the words for how one is.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use chrono::{DateTime, Utc};

use super::{Tab, TabLink, tabs};
use crate::{
    domain::{
        ids::WaveId,
        wave::{ItemState, WaveState},
    },
    web::{
        Web,
        base_images::{self, WaveView},
        pages::{
            page::{PageResult, render},
            viewer::Viewer,
            words::{When, counted},
        },
        parameters::{FromParameters, Parameters, Query},
        problem::FieldError,
    },
};

/// What there is beside what is done, in the order in which it is told.
const NOT_DONE: [ItemState; 6] = [
    ItemState::Failed,
    ItemState::Held,
    ItemState::Building,
    ItemState::Waiting,
    ItemState::Skipped,
    ItemState::Canceled,
];

/// Waves of one page.
const PAGE: u32 = 30;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/waves", get(page))
}

struct ListParameters {
    before: Option<WaveId>,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["before"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let before = parameters.take_id("before", "it is where another page of the list ends")?;
        Ok(Self {
            before: before.map(WaveId::from),
        })
    }
}

#[derive(Template)]
#[template(path = "bases/waves.html")]
struct WavesPage {
    viewer: Viewer,
    tabs: [TabLink; 4],
    rows: Vec<Row>,
    is_later: bool,
    next: Option<String>,
}

struct Row {
    id: String,
    icon: &'static str,
    state: &'static str,
    title: String,
    progress: String,
    created: When,
}

async fn page(
    State(web): State<Web>,
    viewer: Viewer,
    Query(ListParameters { before }): Query<ListParameters>,
) -> PageResult {
    let mut waves = base_images::waves(&web, &viewer.caller, before.as_ref(), PAGE + 1).await?;
    let has_more = waves.len() > PAGE as usize;
    waves.truncate(PAGE as usize);
    render(&WavesPage {
        tabs: tabs(Tab::Waves),
        is_later: before.is_some(),
        next: waves
            .last()
            .filter(|_| has_more)
            .map(|last| format!("/waves?before={}", last.id)),
        rows: waves.into_iter().map(|wave| Row::new(wave, viewer.now)).collect(),
        viewer,
    })
}

impl Row {
    fn new(wave: WaveView, now: DateTime<Utc>) -> Self {
        Self {
            id: wave.id.to_string(),
            icon: icon(wave.state),
            state: wave.state.as_str(),
            title: title(&wave),
            progress: progress(&wave),
            created: When::new(wave.created_at, now),
        }
    }
}

/// `alpine:3.20 moved`, `alpine:3.20 and 2 more moved`.
pub(super) fn title(wave: &WaveView) -> String {
    match wave.moves.as_slice() {
        [] => "A base image moved".to_owned(),
        [only] => format!("{} moved", only.familiar),
        [first, others @ ..] => format!("{} and {} more moved", first.familiar, others.len()),
    }
}

/// The icon and the class of a wave's state.
pub(super) fn icon(state: WaveState) -> &'static str {
    match state {
        WaveState::Settling => "queued",
        WaveState::Running => "running",
        WaveState::Paused => "none",
        WaveState::Done => "succeeded",
        WaveState::Canceled => "canceled",
    }
}

/// The same of an item's.
pub(super) fn item_icon(state: ItemState) -> &'static str {
    match state {
        ItemState::Waiting => "queued",
        ItemState::Building => "running",
        ItemState::Done => "succeeded",
        ItemState::Failed => "failed",
        ItemState::Held => "none",
        ItemState::Skipped => "skipped",
        ItemState::Canceled => "canceled",
    }
}

pub(super) fn count_of(wave: &WaveView, state: ItemState) -> i64 {
    let found = wave.counts.iter().find(|(of, _)| *of == state);
    found.map_or(0, |(_, count)| *count)
}

/// `7 of 12 images done, 1 failed, 2 building, 2 waiting`
pub(super) fn progress(wave: &WaveView) -> String {
    let all: i64 = wave.counts.iter().map(|(_, count)| count).sum();
    if all == 0 {
        return match wave.state {
            WaveState::Settling => "not decided yet what is built again".to_owned(),
            _ => "nothing had to be built again".to_owned(),
        };
    }
    let mut words = format!("{} of {} done", count_of(wave, ItemState::Done), counted(all, "image"));
    for state in NOT_DONE {
        match count_of(wave, state) {
            0 => {}
            count => words.push_str(&format!(", {count} {}", state.as_str())),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::base_images::MoveView;

    fn wave(state: WaveState, counts: &[(ItemState, i64)], moved: &[&str]) -> WaveView {
        WaveView {
            id: WaveId::from("w"),
            state,
            created_at: DateTime::UNIX_EPOCH,
            settles_at: DateTime::UNIX_EPOCH,
            ended_at: None,
            at_once: None,
            steered_by: None,
            moves: moved
                .iter()
                .map(|name| MoveView {
                    image: (*name).to_owned(),
                    familiar: (*name).to_owned(),
                    from: None,
                    to: "sha256:2".to_owned(),
                    parent: None,
                })
                .collect(),
            counts: counts.to_vec(),
        }
    }

    #[test]
    fn a_wave_is_called_by_what_moved() {
        let called = |moved: &[&str]| title(&wave(WaveState::Running, &[], moved));
        assert_eq!(called(&["a:1"]), "a:1 moved");
        assert_eq!(called(&["a:1", "b:1", "c:1"]), "a:1 and 2 more moved");
        assert_eq!(
            called(&[]),
            "A base image moved",
            "what moved is not the viewer's to know"
        );
    }

    #[test]
    fn progress_tells_every_state_that_there_is() {
        let counts = [(ItemState::Waiting, 2), (ItemState::Done, 7), (ItemState::Failed, 1)];
        let running = wave(WaveState::Running, &counts, &[]);
        assert_eq!(progress(&running), "7 of 10 images done, 1 failed, 2 waiting");
        assert!(progress(&wave(WaveState::Settling, &[], &[])).contains("not decided"));
        assert!(progress(&wave(WaveState::Done, &[], &[])).contains("nothing had to be"));
    }
}
