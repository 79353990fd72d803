//! What an action led to, said once on the page that follows it. It travels in a cookie that lives for seconds and ends with
//! the first page that shows it.

use axum::response::Response;
use axum_extra::extract::{
    CookieJar,
    cookie::{Cookie, SameSite},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};

const COOKIE: &str = "hullworks_notice";

/// How long it waits for its page, in seconds.
const WAITS: i64 = 30;

/// Longest text, in bytes: a cookie has 4,096.
const LONGEST: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
}

impl Tone {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// One sentence or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub tone: Tone,
    pub text: String,
}

impl Notice {
    /// Something was done.
    pub fn good(text: impl Into<String>) -> Self {
        Self {
            tone: Tone::Good,
            text: text.into(),
        }
    }

    /// Something was not done.
    pub fn bad(text: impl Into<String>) -> Self {
        Self {
            tone: Tone::Bad,
            text: text.into(),
        }
    }

    /// As the value of `Set-Cookie`.
    pub(super) fn to_header(&self) -> Option<HeaderValue> {
        let mut text = self.text.clone();
        text.truncate(text.floor_char_boundary(LONGEST));
        let value = BASE64_URL_SAFE_NO_PAD.encode(format!("{} {text}", self.tone.as_str()));
        HeaderValue::from_str(&cookie(value, WAITS).to_string()).ok()
    }
}

fn cookie(value: String, seconds: i64) -> Cookie<'static> {
    Cookie::build((COOKIE, value))
        .path("/")
        .same_site(SameSite::Lax)
        .http_only(true)
        .max_age(time::Duration::seconds(seconds))
        .build()
}

/// What waits to be shown.
pub fn waiting(cookies: &CookieJar) -> Option<Notice> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cookies.get(COOKIE)?.value()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (tone, text) = text.split_once(' ')?;
    match tone {
        "good" => Some(Notice::good(text)),
        "bad" => Some(Notice::bad(text)),
        _ => None,
    }
}

/// Ends a notice with the page that showed it.
pub fn forget_shown(request: &HeaderMap, mut response: Response) -> Response {
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if is_page
        && CookieJar::from_headers(request).get(COOKIE).is_some()
        && let Ok(ended) = HeaderValue::from_str(&cookie(String::new(), 0).to_string())
    {
        response.headers_mut().append(header::SET_COOKIE, ended);
    }
    response
}
