//! Secrets that are shown once, on the page that follows the action which made them. On the way there they are sealed, for one
//! session and one repository, in a cookie that lives for minutes and ends with the page that shows it; never in an address.

use axum::response::Response;
use axum_extra::extract::{
    CookieJar,
    cookie::{Cookie, SameSite},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderValue, header};
use secrecy::ExposeSecret;

use super::viewer::Viewer;
use crate::{
    domain::repository::Repository,
    secrets,
    web::{Web, problem::Problem, session::Session},
};

const COOKIE: &str = "hullworks_once";

/// How long a secret waits for its page.
const WAITS: TimeDelta = TimeDelta::minutes(10);

/// The same answer, which takes a webhook's secret to the next page of its repository.
pub fn hand_over(
    web: &Web,
    viewer: &Viewer,
    repository: &Repository,
    secret: &str,
    mut response: Response,
) -> Result<Response, Problem> {
    let text = format!("{} {secret}", (viewer.now + WAITS).timestamp());
    let sealed = web.vault.seal(&purpose(session(viewer)?, repository), &text);
    let cookie = cookie(web, repository, BASE64_URL_SAFE_NO_PAD.encode(sealed), WAITS);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// The secret that waits for a page of this repository.
pub fn waiting(web: &Web, viewer: &Viewer, repository: &Repository, cookies: &CookieJar) -> Option<String> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(cookies.get(COOKIE)?.value()).ok()?;
    let text = web
        .vault
        .open(&purpose(session(viewer).ok()?, repository), &sealed)
        .ok()?;
    let (until, secret) = text.expose_secret().split_once(' ')?;
    let until = DateTime::<Utc>::from_timestamp(until.parse().ok()?, 0)?;
    (viewer.now < until).then(|| secret.to_owned())
}

/// The page that showed it; the cookie ends with it.
pub fn forget(web: &Web, repository: &Repository, mut response: Response) -> Response {
    let ended = cookie(web, repository, String::new(), TimeDelta::zero());
    response.headers_mut().append(header::SET_COOKIE, ended);
    response
}

fn session(viewer: &Viewer) -> Result<&Session, Problem> {
    viewer
        .session
        .as_ref()
        .ok_or_else(|| Problem::unauthorized("this needs you to be signed in"))
}

fn purpose(session: &Session, repository: &Repository) -> String {
    secrets::shown_once(session.id.as_str(), repository.id.as_str())
}

/// Only the repository's own pages get it.
fn cookie(web: &Web, repository: &Repository, value: String, lives: TimeDelta) -> HeaderValue {
    let cookie = Cookie::build((COOKIE, value))
        .path(format!("/r/{}", repository.name))
        .same_site(SameSite::Strict)
        .http_only(true)
        .secure(web.settings.is_secure())
        .max_age(time::Duration::seconds(lives.num_seconds()))
        .build();
    // Base64 and names hold nothing that a header cannot.
    HeaderValue::from_str(&cookie.to_string()).unwrap_or(HeaderValue::from_static(""))
}
