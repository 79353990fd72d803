//! Durations as arguments, `90d`, `12h`, `30m`, and ages in the same manner.

use chrono::TimeDelta;

/// Longest duration, in days: a hundred years, far from where dates overflow.
const MAX_DAYS: i64 = 36_500;

/// Parses a whole number of `s`, `m`, `h`, `d` or `w`; more than nothing, at most a hundred years.
pub fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    let form = || "a duration is a number and a unit: 30m, 12h, 90d or 52w".to_owned();
    let unit = text.chars().last().ok_or_else(form)?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
        return Err(form());
    }
    let of_unit = match unit {
        's' => TimeDelta::try_seconds,
        'm' => TimeDelta::try_minutes,
        'h' => TimeDelta::try_hours,
        'd' => TimeDelta::try_days,
        'w' => TimeDelta::try_weeks,
        _ => return Err(form()),
    };
    let duration = digits.parse().ok().and_then(of_unit);
    match duration.filter(|duration| duration.num_days() <= MAX_DAYS) {
        Some(duration) if duration.is_zero() => Err("it is more than nothing".to_owned()),
        Some(duration) => Ok(duration),
        None => Err(format!("it is at most {MAX_DAYS}d")),
    }
}

/// How long ago something was, in its largest whole unit.
pub fn describe_age(age: TimeDelta) -> String {
    match age.num_seconds().max(0) {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let check = |text: &str, expected: Option<TimeDelta>| assert_eq!(parse_duration(text).ok(), expected, "{text}");
        check("90d", Some(TimeDelta::days(90)));
        check("12h", Some(TimeDelta::hours(12)));
        check("30m", Some(TimeDelta::minutes(30)));
        check("45s", Some(TimeDelta::seconds(45)));
        check("52w", Some(TimeDelta::weeks(52)));
        for wrong in [
            "",
            "d",
            "90",
            "-1d",
            "+1d",
            "1.5h",
            "90 d",
            "1y",
            "1D",
            "0d",
            "1é",
            "36501d",
            "99999999999999999999d",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn ages_are_a_number_and_a_unit() {
        let check = |seconds: i64, expected: &str| assert_eq!(describe_age(TimeDelta::seconds(seconds)), expected);
        check(-5, "0s");
        check(59, "59s");
        check(60, "1m");
        check(3599, "59m");
        check(86_399, "23h");
        check(400 * 86_400, "400d");
    }
}
