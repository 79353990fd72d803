//! How the last builds of a repository went, as bars: as high as they took long, and told apart by shape as well as colour.

use chrono::{DateTime, TimeDelta, Utc};

use super::words::{When, counted, duration};
use crate::{domain::build::Status, store::PastBuild};

/// Builds that are shown.
pub const SHOWN: u32 = 50;

/// Height of the longest bar, and room above it for the mark of a failure; in the units of the drawing.
const HEIGHT: i64 = 72;
const MARK: i64 = 12;

/// Width of a bar, and from one to the next.
const BAR: i64 = 10;
const STEP: i64 = 14;

/// What never ran has no length, but is there.
const SHORTEST: i64 = 3;

/// The fields of `build_chart.html`; templates hold it as `chart`.
pub struct BuildChart {
    /// Oldest first.
    pub bars: Vec<Bar>,
    pub width: i64,
    pub height: i64,
    /// `42 of 50 succeeded, 1 min 12 s at the median`.
    pub summary: String,
}

/// One build.
pub struct Bar {
    pub path: String,
    pub number: i64,
    pub status: &'static str,
    pub source: String,
    /// Empty for what never ran.
    pub took: String,
    pub when: When,
    pub x: i64,
    pub y: i64,
    pub width: i64,
    pub height: i64,
}

impl Bar {
    /// Where the mark of a failure stands: above the bar.
    pub fn mark(&self) -> String {
        let (left, right) = (self.x + 2, self.x + self.width - 2);
        let (top, bottom) = (self.y - 9, self.y - 3);
        format!("M{left} {top}L{right} {bottom}M{right} {top}L{left} {bottom}")
    }

    pub fn title(&self) -> String {
        let took = match self.took.is_empty() {
            true => String::new(),
            false => format!(", {}", self.took),
        };
        format!(
            "#{} of {}: {}{took}, {}",
            self.number, self.source, self.status, self.when.exact
        )
    }
}

impl BuildChart {
    /// `builds` come newest first.
    pub fn new(builds: &[PastBuild], now: DateTime<Utc>) -> Self {
        let longest = builds
            .iter()
            .filter_map(|build| time_of(build, now))
            .max()
            .unwrap_or_default()
            .num_milliseconds()
            .max(1);
        let bars: Vec<Bar> = builds
            .iter()
            .rev()
            .zip(0..)
            .map(|(build, index)| {
                let time = time_of(build, now);
                let scaled = time.map_or(0, |time| time.num_milliseconds().max(0) * HEIGHT / longest);
                let height = scaled.clamp(SHORTEST, HEIGHT);
                Bar {
                    path: format!("/builds/{}", build.id),
                    number: build.number,
                    status: build.status.as_str(),
                    source: build.source_name.clone(),
                    took: time.map(duration).unwrap_or_default(),
                    when: When::new(build.finished_at.or(build.started_at).unwrap_or(build.queued_at), now),
                    x: index * STEP + 1,
                    y: MARK + HEIGHT - height,
                    width: BAR,
                    height,
                }
            })
            .collect();
        Self {
            width: i64::from(SHOWN) * STEP,
            height: MARK + HEIGHT + 1,
            summary: summary(builds, now),
            bars,
        }
    }
}

/// How long a build ran, or runs by now.
fn time_of(build: &PastBuild, now: DateTime<Utc>) -> Option<TimeDelta> {
    let started = build.started_at?;
    let end = match build.status {
        Status::Running => now,
        _ => build.finished_at?,
    };
    Some(end - started)
}

fn summary(builds: &[PastBuild], now: DateTime<Utc>) -> String {
    let succeeded: Vec<&PastBuild> = builds
        .iter()
        .filter(|build| build.status == Status::Succeeded)
        .collect();
    let ended = i64::try_from(builds.iter().filter(|build| build.status.is_final()).count()).unwrap_or(i64::MAX);
    let mut times: Vec<TimeDelta> = succeeded.iter().filter_map(|build| time_of(build, now)).collect();
    times.sort();
    match times.get(times.len() / 2) {
        Some(median) => format!(
            "{} of the last {} succeeded, in {} at the median",
            succeeded.len(),
            counted(ended, "build"),
            duration(*median)
        ),
        None => format!("none of the last {} succeeded", counted(ended, "build")),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        Utc.timestamp_opt(1_700_000_000 + seconds, 0).unwrap()
    }

    fn past(number: i64, status: Status, started: Option<i64>, finished: Option<i64>) -> PastBuild {
        PastBuild {
            id: format!("b{number}").into(),
            number,
            status,
            source_name: "main".to_owned(),
            queued_at: at(0),
            started_at: started.map(at),
            finished_at: finished.map(at),
        }
    }

    #[test]
    fn bars_are_as_high_as_builds_took_long_oldest_first() {
        let builds = [
            past(5, Status::Queued, None, None),
            past(4, Status::Running, Some(50), None),
            past(3, Status::Canceled, None, Some(3)),
            past(2, Status::Failed, Some(0), Some(50)),
            past(1, Status::Succeeded, Some(0), Some(100)),
        ];
        let chart = BuildChart::new(&builds, at(75));
        let told: Vec<_> = chart.bars.iter().map(|bar| (bar.number, bar.height)).collect();
        assert_eq!(told, [(1, 72), (2, 36), (3, 3), (4, 18), (5, 3)]);
        assert!(chart.bars.iter().all(|bar| bar.y + bar.height == MARK + HEIGHT));
        assert_eq!(
            chart.summary,
            "1 of the last 3 builds succeeded, in 1 min 40 s at the median"
        );
        assert_eq!(
            chart.bars[1].title(),
            "#2 of main: failed, 50 s, 2023-11-14 22:14:10 UTC"
        );
    }

    #[test]
    fn clocks_that_go_backwards_and_builds_without_time_are_drawn() {
        let builds = [
            past(2, Status::Succeeded, Some(10), Some(5)),
            past(1, Status::Failed, Some(5), Some(5)),
        ];
        let chart = BuildChart::new(&builds, at(0));
        assert!(chart.bars.iter().all(|bar| bar.height == SHORTEST));
        assert!(BuildChart::new(&[], at(0)).bars.is_empty());
    }
}
