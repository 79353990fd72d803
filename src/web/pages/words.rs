//! How pages say things: moments, durations, sizes, causes.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::{
    build::{Cause, CauseKind},
    delivery::Outcome,
    image::ImageReference,
};

/// A moment, ready to be shown: relative to when the page was made, and exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// RFC 3339.
    pub iso: String,
    /// For a person, in UTC.
    pub exact: String,
    pub relative: String,
}

impl When {
    pub fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            iso: at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            exact: at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            relative: relative(at - now),
        }
    }
}

/// Seconds in each unit, the largest first.
const UNITS: [(&str, i64); 6] = [
    ("year", 31_536_000),
    ("month", 2_592_000),
    ("week", 604_800),
    ("day", 86_400),
    ("hour", 3600),
    ("minute", 60),
];

/// `3 hours ago`, `in 5 minutes`, `just now`; the script that keeps it true says the same.
fn relative(distance: TimeDelta) -> String {
    let seconds = distance.num_seconds();
    if seconds.abs() < 10 {
        return "just now".to_owned();
    }
    let (unit, length) = UNITS
        .into_iter()
        .find(|(_, length)| seconds.abs() >= *length)
        .unwrap_or(("second", 1));
    let count = seconds.abs() / length;
    match (seconds < 0, unit, count) {
        (true, "day", 1) => "yesterday".to_owned(),
        (false, "day", 1) => "tomorrow".to_owned(),
        (true, "week" | "month" | "year", 1) => format!("last {unit}"),
        (false, "week" | "month" | "year", 1) => format!("next {unit}"),
        (true, ..) => format!("{} ago", counted(count, unit)),
        (false, ..) => format!("in {}", counted(count, unit)),
    }
}

/// `1 build`, `2 builds`.
pub fn counted(count: i64, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub fn duration(time: TimeDelta) -> String {
    let milliseconds = time.num_milliseconds().max(0);
    let seconds = milliseconds / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, milliseconds % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `512 B`, `3.2 MB`: powers of 1,000, as registries and Docker count.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    match tenths < 1000 {
        true => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        false => format!("{} {}", tenths / 10, UNITS[unit]),
    }
}

/// The first characters of a commit or digest, as people quote it.
pub fn short(hash: &str) -> &str {
    let hash = hash.strip_prefix("sha256:").unwrap_or(hash);
    hash.get(..7).unwrap_or(hash)
}

/// An image as short as people write it; the stored name where it is none.
pub fn image(name: &str) -> String {
    ImageReference::parse(name).map_or_else(|_| name.to_owned(), |image| image.familiar())
}

/// Why a build was started: `push of 3f2a91c to main`.
pub fn cause(cause: &Cause, source_name: &str, commit: Option<&str>) -> String {
    match (cause, commit) {
        (Cause::Push { .. }, Some(commit)) => format!("push of {} to {source_name}", short(commit)),
        (Cause::Push { .. }, None) => format!("push to {source_name}"),
        (Cause::Manual { user }, _) => format!("triggered by {user}"),
        (Cause::Create { user }, _) => format!("first build, by {user}"),
        (Cause::Retry { user, .. }, _) => format!("retried by {user}"),
        (Cause::BaseImage { image: base, .. }, _) => format!("new version of {}", image(base)),
        (Cause::Poll, _) => "a push that no webhook told of".to_owned(),
        (Cause::Schedule { cron, time_zone }, _) => format!("schedule {cron} in {time_zone}"),
    }
}

/// What starts builds, where one is chosen.
pub fn cause_kind(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::Push => "a push",
        CauseKind::Manual => "somebody's click",
        CauseKind::Create => "a new repository",
        CauseKind::Retry => "a retry",
        CauseKind::BaseImage => "a base image",
        CauseKind::Schedule => "a schedule",
        CauseKind::Poll => "a look at the source",
    }
}

/// What became of a delivery.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Queued => "queued",
        Outcome::NoMatch => "no match",
        Outcome::Skipped => "skipped",
        Outcome::Refused => "refused",
        Outcome::Ignored => "ignored",
        Outcome::Duplicate => "duplicate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_as_people_would() {
        for (seconds, expected) in [
            (0, "just now"),
            (-9, "just now"),
            (-10, "10 seconds ago"),
            (-60, "1 minute ago"),
            (-3599, "59 minutes ago"),
            (-7200, "2 hours ago"),
            (-86_400, "yesterday"),
            (-604_800, "last week"),
            (-63_072_000, "2 years ago"),
            (300, "in 5 minutes"),
        ] {
            assert_eq!(relative(TimeDelta::seconds(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn durations_and_sizes_are_short() {
        for (milliseconds, expected) in [
            (-5, "0.0 s"),
            (432, "0.4 s"),
            (9_999, "9.9 s"),
            (12_300, "12 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
        ] {
            assert_eq!(duration(TimeDelta::milliseconds(milliseconds)), expected);
        }
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (3_249_000, "3.2 MB"),
            (999_999, "999 kB"),
            (1_000_000, "1.0 MB"),
            (734_000_000_000, "734 GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn a_hash_that_is_none_is_not_cut() {
        assert_eq!(short("sha256:a41b2c3d4e"), "a41b2c3");
        assert_eq!(short("äöü"), "äöü");
    }
}
