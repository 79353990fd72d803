//! Reads how long a registry wants to be left alone: RFC 9110, section 10.2.3.

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// The longest wait that is believed.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// `Retry-After` in either form. A date is taken relative to the answer's own `Date`, so that no clocks need agree.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
        // What does not fit is longer than any wait that is believed.
        text.parse().map_or(MAX_WAIT, Duration::from_secs)
    } else {
        let now = headers.get(DATE)?.to_str().ok()?;
        let wait = DateTime::parse_from_rfc2822(text).ok()? - DateTime::parse_from_rfc2822(now).ok()?;
        wait.to_std().unwrap_or(Duration::ZERO)
    };
    Some(wait.min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_bounded() {
        let check = |value: &'static str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([
                (RETRY_AFTER, value.parse().unwrap()),
                (DATE, "Sun, 06 Nov 1994 08:49:37 GMT".parse().unwrap()),
            ]);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{value}");
        };
        check("120", Some(120));
        check("0", Some(0));
        check(" 7 ", Some(7));
        check("999999999999999999999999999", Some(86_400));
        check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
        check("Sun, 06 Nov 1994 08:49:00 GMT", Some(0));
        check("Thu, 06 Nov 2994 08:49:37 GMT", Some(86_400));
        check("-5", None);
        check("soon", None);
        check("", None);
    }

    #[test]
    fn a_date_without_the_answers_own_says_nothing() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT".parse().unwrap())]);
        assert_eq!(retry_after(&headers), None);
    }
}
