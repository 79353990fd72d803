//! Reads how much more a registry lets one ask: the headers of Docker Hub, `ratelimit-limit: 100;w=21600` and
//! `ratelimit-remaining: 76;w=21600`, as <https://docs.docker.com/docker-hub/usage/pulls/> has them.

use std::time::Duration;

use reqwest::header::HeaderMap;

/// Longest header that is read, in bytes.
const MAX_HEADER: usize = 100;

/// The longest window that is believed.
const MAX_WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a registry lets one ask, as of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests within `window`.
    pub limit: u32,
    /// What is left of them; never more than `limit`.
    pub remaining: u32,
    /// The time to which the limit applies, ending now; never zero.
    pub window: Duration,
}

/// What an answer says; `None` where it says nothing, or nothing that can be made use of.
pub(super) fn allowance(headers: &HeaderMap) -> Option<Allowance> {
    let (limit, window) = read(headers, "ratelimit-limit")?;
    let (remaining, other_window) = read(headers, "ratelimit-remaining")?;
    let window = window.or(other_window).filter(|window| !window.is_zero())?;
    (limit > 0).then(|| Allowance {
        limit,
        remaining: remaining.min(limit),
        window: window.min(MAX_WINDOW),
    })
}

/// A number and its window: `100;w=21600`.
fn read(headers: &HeaderMap, name: &str) -> Option<(u32, Option<Duration>)> {
    let text = headers.get(name)?.to_str().ok()?;
    if text.len() > MAX_HEADER {
        return None;
    }
    let mut parts = text.split(';').map(str::trim);
    let number = digits(parts.next()?)?;
    let window = parts.find_map(|part| part.strip_prefix("w=")).and_then(digits);
    Some((number, window.map(|seconds| Duration::from_secs(seconds.into()))))
}

/// Digits alone; what does not fit is more than is ever of interest.
fn digits(text: &str) -> Option<u32> {
    let are_digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    are_digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hubs_headers_are_read_and_bounded() {
        let check = |limit: &str, remaining: &str, expected: Option<(u32, u32, u64)>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("ratelimit-limit", limit), ("ratelimit-remaining", remaining)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            let seen = allowance(&headers).map(|read| (read.limit, read.remaining, read.window.as_secs()));
            assert_eq!(seen, expected, "{limit} {remaining}");
        };
        check("100;w=21600", "76;w=21600", Some((100, 76, 21_600)));
        check("100;w=21600", "0;w=21600", Some((100, 0, 21_600)));
        check("100; w=60", "7", Some((100, 7, 60)));
        check("100", "7;x=1;w=60", Some((100, 7, 60)));
        check("100;w=60", "700;w=60", Some((100, 100, 60)));
        check("100;w=99999999999999999999", "7", Some((100, 7, 604_800)));
        check("99999999999999999999;w=60", "7;w=60", Some((u32::MAX, 7, 60)));
        for (limit, remaining) in [
            ("", "7;w=60"),
            ("100;w=60", ""),
            ("100", "7"),
            ("100;w=0", "7;w=0"),
            ("0;w=60", "0;w=60"),
            ("-1;w=60", "7;w=60"),
            ("100;w=60", "many"),
            ("100;w=60", ";w=60"),
            ("100;w=60", &"7".repeat(MAX_HEADER + 1)),
        ] {
            check(limit, remaining, None);
        }
    }
}
