//! When a rule builds without a push: a cron expression on the clock of a time zone.
//!
//! A time is what a clock on the wall there shows. One that is skipped when clocks go forward is kept at the first moment
//! after the gap; one that comes twice when they go back is kept the first time alone. `croner` reads the expressions and
//! counts on calendars; which moment a wall's time is, is decided here.

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use serde::{Deserialize, Serialize};

/// Longest cron expression and name of a time zone, in bytes.
const LONGEST_TEXT: usize = 200;

/// Least time between two starts.
const SHORTEST_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// The year from which an expression is looked through when it is checked: a leap year in which, with those after it, every
/// date falls on every weekday. What never comes is searched for until the year 5000, and so from here not for long.
const CHECKED_FROM: i32 = 4960;

/// Starts that are looked through for two that follow each other too soon; two days of those that do not have fewer.
const LOOKED_THROUGH: usize = 300;

/// Longest time that a change of clocks has skipped: a day, where a country moved across the date line.
const LONGEST_GAP_MINUTES: i64 = 25 * 60;

/// When a rule builds without a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Five fields: minute, hour, day of month, month, weekday; or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schema(example = "0 4 * * 1")]
    pub cron: String,
    /// By the IANA database; left out: UTC.
    #[serde(default = "utc")]
    #[schema(default = "UTC", example = "Europe/Berlin")]
    pub time_zone: String,
    /// Without the cache, so that every step runs again.
    #[serde(default)]
    pub no_cache: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Why a schedule cannot be saved: its field at fault and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidSchedule {
    /// `cron` or `time_zone`.
    pub field: &'static str,
    pub message: String,
}

impl Schedule {
    /// Checks everything that can be known when it is saved.
    pub fn check(&self) -> Result<(), InvalidSchedule> {
        let cron = parse_cron(&self.cron)?;
        parse_zone(&self.time_zone)?;
        let invalid = |message: String| InvalidSchedule { field: "cron", message };
        let start = NaiveDate::from_ymd_opt(CHECKED_FROM, 1, 1)
            .unwrap_or_default()
            .and_time(Default::default());
        let end = start + TimeDelta::days(366);
        let mut last = cron
            .find_next_occurrence(&start, true)
            .map_err(|_| invalid(format!("`{}` never comes: no month has such a day", self.cron)))?;
        for _ in 0..LOOKED_THROUGH {
            let Ok(next) = cron.find_next_occurrence(&last, false) else {
                break;
            };
            if next - last < SHORTEST_PAUSE {
                let message = format!(
                    "`{}` starts builds more often than every {} minutes: they would pile up and keep workers from what was \
                     pushed; leave more time between them",
                    self.cron,
                    SHORTEST_PAUSE.num_minutes()
                );
                return Err(invalid(message));
            }
            if next > end {
                break;
            }
            last = next;
        }
        Ok(())
    }

    /// The first start after a moment; `None` where there is none, or the schedule is not a valid one.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (cron, zone) = (parse_cron(&self.cron).ok()?, parse_zone(&self.time_zone).ok()?);
        let mut wall = after.with_timezone(&zone).naive_local();
        loop {
            wall = cron.find_next_occurrence(&wall, false).ok()?;
            // Not after it: the first of two times that look the same has passed, or a gap was begun with already.
            let at = moment(wall, zone)?;
            if at > after {
                return Some(at);
            }
        }
    }

    /// All starts after a moment.
    pub fn upcoming(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |last| self.next_after(*last))
    }

    /// A moment as clocks in the schedule's time zone show it: `Mon 2026-11-30 04:00 CET`.
    pub fn in_its_zone(&self, at: DateTime<Utc>) -> String {
        let zone = parse_zone(&self.time_zone).unwrap_or(Tz::UTC);
        at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M %Z").to_string()
    }

    /// Whether the other one starts at the same times.
    pub fn has_times_of(&self, other: &Self) -> bool {
        self.cron == other.cron && self.time_zone == other.time_zone
    }
}

fn parse_cron(text: &str) -> Result<Cron, InvalidSchedule> {
    let invalid = |message: String| InvalidSchedule { field: "cron", message };
    if text.len() > LONGEST_TEXT {
        return Err(invalid(format!("it is longer than {LONGEST_TEXT} bytes")));
    }
    let example = "write it like `0 4 * * 1`: minute, hour, day of month, month, weekday";
    if text.trim().is_empty() {
        return Err(invalid(format!("it is empty; {example}")));
    }
    if !text.bytes().all(|c| c.is_ascii_graphic() || c == b' ') {
        return Err(invalid(format!(
            "it has characters that no cron expression has; {example}"
        )));
    }
    let fields = text.split_whitespace().count();
    if text.trim().starts_with('@') {
        const NAMES: [&str; 6] = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@annually"];
        if !NAMES.iter().any(|name| name.eq_ignore_ascii_case(text.trim())) {
            let message = format!("`{text}` is not known; there are {}", NAMES[..5].join(", "));
            return Err(invalid(message));
        }
    } else if fields != 5 {
        let seconds = if fields == 6 { " (seconds cannot be named)" } else { "" };
        return Err(invalid(format!(
            "`{text}` does not have five fields but {fields}{seconds}; {example}"
        )));
    }
    CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(text)
        .map_err(|error| {
            let why = error.to_string();
            let why = why.trim_end_matches('.');
            invalid(format!("`{text}` is not a cron expression ({why}); {example}"))
        })
}

fn parse_zone(name: &str) -> Result<Tz, InvalidSchedule> {
    name.parse().map_err(|_| {
        let shown: String = name.chars().take(LONGEST_TEXT).collect();
        InvalidSchedule {
            field: "time_zone",
            message: format!("`{shown}` is no time zone of the IANA database; write it like `Europe/Berlin` or `UTC`"),
        }
    })
}

/// The moment at which a clock on the wall first shows a time, or, where clocks skip it, the first one after the gap.
fn moment(wall: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    (0..=LONGEST_GAP_MINUTES).find_map(|minutes| {
        match zone.from_local_datetime(&wall.checked_add_signed(TimeDelta::minutes(minutes))?) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => Some(at.to_utc()),
            LocalResult::None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(cron: &str, time_zone: &str) -> Schedule {
        Schedule {
            cron: cron.to_owned(),
            time_zone: time_zone.to_owned(),
            no_cache: false,
        }
    }

    fn utc_of(text: &str) -> DateTime<Utc> {
        format!("{}:00Z", text.replace(' ', "T")).parse().unwrap()
    }

    /// `expected`: the first starts after a moment, all in UTC.
    fn check(cron: &str, time_zone: &str, after: &str, expected: &[&str]) {
        let schedule = schedule(cron, time_zone);
        assert_eq!(schedule.check(), Ok(()), "{cron}");
        let found: Vec<_> = schedule.upcoming(utc_of(after)).take(expected.len()).collect();
        let expected: Vec<_> = expected.iter().map(|text| utc_of(text)).collect();
        assert_eq!(found, expected, "{cron} in {time_zone} after {after}");
    }

    #[test]
    fn a_schedule_starts_at_the_times_that_it_names() {
        check(
            "0 4 * * 1",
            "UTC",
            "2026-11-24 15:00",
            &["2026-11-30 04:00", "2026-12-07 04:00"],
        );
        check(
            "30 9 * * MON-FRI",
            "UTC",
            "2026-11-27 09:30",
            &["2026-11-30 09:30", "2026-12-01 09:30"],
        );
        check("0 0 * * 0", "UTC", "2026-11-24 00:00", &["2026-11-29 00:00"]);
        check("0 0 * * 7", "UTC", "2026-11-24 00:00", &["2026-11-29 00:00"]);
        check(
            "*/10 * * * *",
            "UTC",
            "2026-11-24 15:01",
            &["2026-11-24 15:10", "2026-11-24 15:20"],
        );
        check(
            "0 6,18 * * *",
            "UTC",
            "2026-11-24 06:00",
            &["2026-11-24 18:00", "2026-11-25 06:00"],
        );
        check(
            "0 0 13 * 5",
            "UTC",
            "2026-11-01 00:00",
            &["2026-11-06 00:00", "2026-11-13 00:00"],
        );
        check(
            "0 12 * JAN,JUL *",
            "UTC",
            "2026-02-01 00:00",
            &["2026-07-01 12:00", "2026-07-02 12:00"],
        );
        check("@hourly", "UTC", "2026-11-24 15:00", &["2026-11-24 16:00"]);
        check("@daily", "UTC", "2026-11-24 15:00", &["2026-11-25 00:00"]);
        check("@weekly", "UTC", "2026-11-24 15:00", &["2026-11-29 00:00"]);
        check("@monthly", "UTC", "2026-11-24 15:00", &["2026-12-01 00:00"]);
        check("@yearly", "UTC", "2026-11-24 15:00", &["2027-01-01 00:00"]);
    }

    #[test]
    fn months_end_when_the_calendar_says_so() {
        check(
            "0 0 31 * *",
            "UTC",
            "2027-01-31 00:00",
            &[
                "2027-03-31 00:00",
                "2027-05-31 00:00",
                "2027-07-31 00:00",
                "2027-08-31 00:00",
            ],
        );
        check(
            "0 0 29 2 *",
            "UTC",
            "2026-01-01 00:00",
            &["2028-02-29 00:00", "2032-02-29 00:00"],
        );
        check("0 0 29 2 *", "UTC", "2096-03-01 00:00", &["2104-02-29 00:00"]);
        check(
            "0 3 L * *",
            "UTC",
            "2028-02-01 00:00",
            &["2028-02-29 03:00", "2028-03-31 03:00", "2028-04-30 03:00"],
        );
        check(
            "59 23 31 12 *",
            "UTC",
            "2026-11-24 00:00",
            &["2026-12-31 23:59", "2027-12-31 23:59"],
        );
    }

    #[test]
    fn a_zone_keeps_its_time_of_day_through_the_year() {
        // Berlin: UTC+1 in winter, UTC+2 in summer.
        check(
            "0 4 * * 1",
            "Europe/Berlin",
            "2026-03-22 00:00",
            &["2026-03-23 03:00", "2026-03-30 02:00"],
        );
        check(
            "0 4 * * 1",
            "Europe/Berlin",
            "2026-10-18 00:00",
            &["2026-10-19 02:00", "2026-10-26 03:00"],
        );
        check("0 0 1 * *", "Asia/Kolkata", "2026-11-24 00:00", &["2026-11-30 18:30"]);
        // New York: UTC-5 in winter, UTC-4 in summer.
        check(
            "0 22 * * *",
            "America/New_York",
            "2026-03-07 00:00",
            &["2026-03-07 03:00", "2026-03-08 03:00", "2026-03-09 02:00"],
        );
    }

    #[test]
    fn a_time_that_clocks_skip_comes_once_after_the_gap() {
        // Berlin, 29 March 2026: 02:00 is 03:00, at 01:00 UTC.
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28 00:00",
            &["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"],
        );
        check(
            "0,15,30 2 * * *",
            "Europe/Berlin",
            "2026-03-28 02:00",
            &["2026-03-29 01:00", "2026-03-30 00:00"],
        );
        check(
            "0 2,3 * * *",
            "Europe/Berlin",
            "2026-03-28 12:00",
            &["2026-03-29 01:00", "2026-03-30 00:00"],
        );
        check(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-03-29 00:15",
            &["2026-03-29 00:30", "2026-03-29 01:00", "2026-03-29 01:30"],
        );
        // New York, 8 March 2026: 02:00 is 03:00, at 07:00 UTC.
        check(
            "15 2 * * *",
            "America/New_York",
            "2026-03-07 12:00",
            &["2026-03-08 07:00", "2026-03-09 06:15"],
        );
        check(
            "0 2 8 3 *",
            "America/New_York",
            "2026-01-01 00:00",
            &["2026-03-08 07:00", "2027-03-08 07:00"],
        );
        // Lord Howe's clocks go forward by half an hour: 02:00 is 02:30, at 15:30 UTC.
        check(
            "10 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03 00:00",
            &["2026-10-03 15:30", "2026-10-04 15:10"],
        );
        // Samoa had no 30 December 2011.
        check(
            "0 9 30 12 *",
            "Pacific/Apia",
            "2011-12-01 00:00",
            &["2011-12-30 10:00", "2012-12-29 19:00"],
        );
    }

    #[test]
    fn a_time_that_comes_twice_is_kept_the_first_time() {
        // Berlin, 25 October 2026: 03:00 is 02:00 again, at 01:00 UTC.
        check(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24 00:00",
            &["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"],
        );
        check("30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", &["2026-10-26 01:30"]);
        check(
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-10-24 12:00",
            &["2026-10-25 00:00", "2026-10-25 00:30", "2026-10-26 01:00"],
        );
        check(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25 00:15",
            &["2026-10-25 00:30", "2026-10-25 02:00"],
        );
        // New York, 1 November 2026: 02:00 is 01:00 again, at 06:00 UTC.
        check(
            "30 1 * * *",
            "America/New_York",
            "2026-10-31 12:00",
            &["2026-11-01 05:30", "2026-11-02 06:30"],
        );
    }

    #[test]
    fn the_next_start_is_after_the_moment_to_the_microsecond() {
        let schedule = schedule("0 4 * * *", "UTC");
        let due = utc_of("2026-11-24 04:00");
        let short_of = due - TimeDelta::microseconds(1);
        assert_eq!(schedule.next_after(short_of), Some(due));
        assert_eq!(schedule.next_after(due), Some(due + TimeDelta::days(1)));
        assert_eq!(
            schedule.next_after(due + TimeDelta::microseconds(1)),
            Some(due + TimeDelta::days(1))
        );
    }

    #[test]
    fn what_makes_no_schedule_is_refused_with_the_reason() {
        let refused = |cron: &str, reason: &str| {
            let invalid = schedule(cron, "UTC").check().expect_err(cron);
            assert_eq!(invalid.field, "cron", "{cron}");
            assert!(invalid.message.contains(reason), "{cron}: {}", invalid.message);
        };
        refused("", "empty");
        refused("   ", "empty");
        refused("every monday", "five fields but 2");
        refused("a b c d e", "not a cron expression");
        refused("60 4 * * *", "not a cron expression");
        refused("0 24 * * *", "not a cron expression");
        refused("0 0 0 * *", "not a cron expression");
        refused("0 0 * 13 *", "not a cron expression");
        refused("0 0 * * 8", "not a cron expression");
        refused("0 0 5-1 * *", "not a cron expression");
        refused("0 */0 * * *", "not a cron expression");
        refused("0 0 0 * * *", "seconds cannot be named");
        refused("0 0 0 * * * *", "five fields but 7");
        refused("0 4 * *", "five fields but 4");
        refused("@reboot", "@daily");
        refused("@every 5m", "@daily");
        refused("0 4 * * 1\n", "characters");
        refused("0 4 * * \u{661}", "characters");
        refused(&"0".repeat(LONGEST_TEXT + 1), "longer");
        refused("0 0 30 2 *", "never comes");
        refused("0 0 31 4,6,9,11 *", "never comes");
        for often in [
            "* * * * *",
            "*/5 * * * *",
            "0,9 * * * *",
            "0-3 4 * * 1",
            "55,0 23,0 * * *",
        ] {
            refused(often, "more often than every 10 minutes");
        }
        assert_eq!(schedule("55 23 * * *", "UTC").check(), Ok(()));
        let zone = schedule("0 4 * * 1", "Europe/Berln").check().unwrap_err();
        assert_eq!(zone.field, "time_zone");
        assert!(zone.message.contains("`Europe/Berlin`"), "{}", zone.message);
        assert!(schedule("0 4 * * 1", "").check().is_err());
        assert_eq!(schedule("nonsense", "UTC").next_after(utc_of("2026-11-24 04:00")), None);
        assert_eq!(
            schedule("0 4 * * 1", "nowhere").next_after(utc_of("2026-11-24 04:00")),
            None
        );
    }

    #[test]
    fn no_text_makes_the_parser_panic_or_search_for_long() {
        // A generator of its own, so that every run tries the same.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % bound as u64) as usize
        };
        const PARTS: [&str; 24] = [
            "*", "*", "*", "/", "0", "1", "5", "29", "30", "31", "59", "60", "7", "-", ",", "L", "W", "#", "?", "+",
            "SUN", "FEB", "15W", "99999",
        ];
        const COMMON: [[&str; 5]; 5] = [
            ["0", "30", "59", "*/20", "15,45"],
            ["*", "4", "23", "*/6", "1-5"],
            ["*", "31", "L", "29", "1-7"],
            ["*", "2", "FEB", "4,6,9", "12"],
            ["*", "1", "SUN#5", "5L", "+MON"],
        ];
        let (began, mut valid) = (std::time::Instant::now(), 0);
        for _ in 0..3000 {
            let mut fields = COMMON.map(|common| common[below(5)].to_owned());
            for _ in 0..below(3) {
                fields[below(5)].push_str(PARTS[below(PARTS.len())]);
            }
            let schedule = schedule(&fields.join(" "), "Europe/Berlin");
            if schedule.check().is_ok() {
                valid += 1;
                assert!(
                    schedule.next_after(utc_of("2026-03-28 00:00")).is_some(),
                    "{}",
                    schedule.cron
                );
            }
        }
        assert!(valid > 1000, "{valid}");
        assert!(
            began.elapsed() < std::time::Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
    }

    #[test]
    fn a_moment_is_shown_as_clocks_there_show_it() {
        let at = utc_of("2026-11-30 03:00");
        assert_eq!(
            schedule("@daily", "Europe/Berlin").in_its_zone(at),
            "Mon 2026-11-30 04:00 CET"
        );
        assert_eq!(schedule("@daily", "UTC").in_its_zone(at), "Mon 2026-11-30 03:00 UTC");
    }
}
