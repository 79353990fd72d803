//! The steps of a build as bars over time, each leading to its lines in the log.

use chrono::{DateTime, TimeDelta, Utc};

use super::words;
use crate::{
    domain::build::{Status, Step},
    logs::{line_index::Section, lines::Outline},
    store::Build,
};

/// The bars are drawn on so many units, whatever their width on the screen.
const WIDTH: i64 = 1000;

/// Narrowest bar, so that short steps are seen too.
const NARROWEST: i64 = 4;

/// Steps that are drawn; of a longer build the log has all of them.
const MAX_SHOWN: usize = 200;

/// All that is drawn.
pub struct Timeline {
    pub bars: Vec<Bar>,
    /// Steps that are not drawn.
    pub more: usize,
}

/// One step.
pub struct Bar {
    pub name: String,
    /// `done`, `cached`, `failed`, `running` or `canceled`: it is also the bar's class.
    pub state: &'static str,
    /// `1.2 s`; empty before it begins.
    pub took: String,
    pub x: i64,
    pub width: i64,
    /// The number of its first line in the log.
    pub line: Option<u64>,
}

impl Bar {
    /// How the state is said where nothing but a colour would tell it.
    pub fn word(&self) -> &'static str {
        match self.state {
            "done" => "",
            state => state,
        }
    }
}

impl Timeline {
    pub fn new(build: &Build, outline: &Outline, now: DateTime<Utc>) -> Self {
        let steps = &build.steps;
        let until = build.finished_at.unwrap_or(now);
        let starts = steps.iter().filter_map(|step| step.started_at).min();
        let ends = steps
            .iter()
            .filter_map(|step| step.finished_at.or(step.started_at.map(|_| until)))
            .max();
        let sections = outline.steps();
        let scale = Scale {
            from: starts.unwrap_or(until),
            length: ends.unwrap_or(until) - starts.unwrap_or(until),
        };
        let bars = steps.iter().take(MAX_SHOWN).enumerate().map(|(index, step)| {
            let section = sections.get(index).copied();
            bar(step, section, &scale, build.status, until)
        });
        Self {
            bars: bars.collect(),
            more: steps.len().saturating_sub(MAX_SHOWN),
        }
    }
}

struct Scale {
    from: DateTime<Utc>,
    length: TimeDelta,
}

impl Scale {
    fn at(&self, time: DateTime<Utc>) -> i64 {
        let length = self.length.num_milliseconds().max(1);
        ((time - self.from).num_milliseconds().clamp(0, length) * WIDTH) / length
    }
}

fn bar(step: &Step, section: Option<&Section>, scale: &Scale, status: Status, until: DateTime<Utc>) -> Bar {
    let is_canceled = step
        .error
        .as_deref()
        .is_some_and(|error| error.ends_with("context canceled"));
    let state = match (&step.error, step.cached, step.finished_at) {
        (Some(_), ..) if is_canceled => "canceled",
        (Some(_), ..) => "failed",
        (None, true, _) => "cached",
        (None, false, Some(_)) => "done",
        (None, false, None) if status == Status::Running => "running",
        (None, false, None) => "canceled",
    };
    let from = step.started_at.or(step.finished_at);
    let to = step.finished_at.unwrap_or(until);
    let x = from.map_or(0, |from| scale.at(from)).min(WIDTH - NARROWEST);
    let width = from.map_or(0, |_| (scale.at(to) - x).max(NARROWEST).min(WIDTH - x));
    Bar {
        name: step.name.clone(),
        state,
        took: from.map_or_else(String::new, |from| words::duration(to - from)),
        x,
        width,
        line: section.map(|section| section.first + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(milliseconds)
    }

    fn step(from: i64, to: Option<i64>, cached: bool, error: Option<&str>) -> Step {
        Step {
            name: "x".to_owned(),
            started_at: at(from),
            finished_at: to.and_then(at),
            cached,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn bars_stand_where_their_time_is_and_are_never_invisible() {
        let scale = Scale {
            from: at(1000).unwrap(),
            length: TimeDelta::milliseconds(10_000),
        };
        let draw = |step: &Step| {
            let bar = bar(step, None, &scale, Status::Running, at(11_000).unwrap());
            (bar.x, bar.width, bar.state)
        };
        assert_eq!(draw(&step(1000, Some(6000), false, None)), (0, 500, "done"));
        assert_eq!(draw(&step(6000, None, false, None)), (500, 500, "running"));
        assert_eq!(draw(&step(11_000, Some(11_000), true, None)), (996, 4, "cached"));
        assert_eq!(
            draw(&step(2000, Some(2001), false, Some("exit code: 1"))),
            (100, 4, "failed")
        );
        assert_eq!(
            draw(&step(2000, Some(3000), false, Some("x: context canceled"))),
            (100, 100, "canceled")
        );
        // Clocks of other machines may be anywhere.
        assert_eq!(draw(&step(-9000, Some(99_000), false, None)), (0, 1000, "done"));
    }
}
