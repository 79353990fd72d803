//! What a browser keeps while somebody is at the provider: the attempt to sign in, sealed. It cannot be read or made
//! elsewhere, holds for minutes, and ends with the way back, however that went.

use axum::response::AppendHeaders;
use axum_extra::extract::{
    CookieJar,
    cookie::{Cookie, SameSite},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderName, header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::{
    domain::ids::UserId,
    oidc::Attempt,
    secrets,
    web::{Web, session::SetCookie},
};

/// Where it is sent to.
pub const PATH: &str = "/sign-in/oidc";

const COOKIE: &str = "hullworks_attempt";

/// The same behind TLS: browsers take a cookie of this prefix over TLS alone.
const SECURE_COOKIE: &str = "__Secure-hullworks_attempt";

/// How long somebody may take at the provider.
const HOLDS: TimeDelta = TimeDelta::minutes(10);

/// Longest way back that is kept, in bytes: a cookie has 4,096.
const LONGEST_NEXT: usize = 1000;

/// An attempt that was begun.
#[derive(Serialize, Deserialize)]
pub struct Begun {
    pub attempt: Attempt,
    /// Where to go afterwards.
    pub next: String,
    /// Whose identity it is to become; `None`: it is to sign in.
    pub for_user: Option<UserId>,
    until: DateTime<Utc>,
}

impl Begun {
    pub fn new(attempt: Attempt, next: &str, for_user: Option<UserId>, now: DateTime<Utc>) -> Self {
        let next = if next.len() <= LONGEST_NEXT { next } else { "/" };
        Self {
            attempt,
            next: next.to_owned(),
            for_user,
            until: now + HOLDS,
        }
    }
}

/// The attempt of this browser, if it has begun one lately.
pub fn begun(web: &Web, cookies: &CookieJar) -> Option<Begun> {
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(cookies.get(name(web))?.value()).ok()?;
    let text = web.vault.open(&secrets::sign_in_attempt(), &sealed).ok()?;
    let begun: Begun = serde_json::from_str(text.expose_secret()).ok()?;
    (begun.until > web.clock.now()).then_some(begun)
}

pub fn set(web: &Web, begun: &Begun) -> SetCookie {
    let sealed = web
        .vault
        .seal(&secrets::sign_in_attempt(), &serde_json::json!(begun).to_string());
    cookie(web, BASE64_URL_SAFE_NO_PAD.encode(sealed), HOLDS)
}

pub fn forget(web: &Web) -> SetCookie {
    cookie(web, String::new(), TimeDelta::zero())
}

/// Sent along when the provider sends the browser back (`Lax`), and with nothing else that another site makes it send.
fn cookie(web: &Web, value: String, age: TimeDelta) -> SetCookie {
    let cookie = Cookie::build((name(web), value))
        .path(PATH)
        .same_site(SameSite::Lax)
        .http_only(true)
        .secure(web.settings.is_secure())
        .max_age(time::Duration::seconds(age.num_seconds()))
        .build();
    let header: HeaderName = header::SET_COOKIE;
    AppendHeaders([(header, cookie.to_string())])
}

fn name(web: &Web) -> &'static str {
    match web.settings.is_secure() {
        true => SECURE_COOKIE,
        false => COOKIE,
    }
}
