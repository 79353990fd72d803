//! Signed-in browsers: the cookie, the session behind it, and the token against forged forms.
//!
//! A cookie's value is known to its browser alone: it is never logged, and the store has its hash only.

use axum::response::AppendHeaders;
use axum_extra::extract::CookieJar;
use chrono::TimeDelta;
use http::{HeaderMap, HeaderName, header, request::Parts};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{Web, problem::Problem, visitor::Visitor};
use crate::{
    domain::ids::{SessionId, UserId},
    store::{Alive, NewSession, SessionOwner, User},
    tokens::{new_session_value, token_hash},
};

/// The cookie's name where the service is reached without TLS.
const COOKIE: &str = "hullworks_session";

/// The same behind TLS: browsers take a cookie of this prefix only over TLS, and for this very host.
const HOST_COOKIE: &str = "__Host-hullworks_session";

/// A session that was not used for so long is over.
const IDLE: TimeDelta = TimeDelta::days(14);

/// A session is over after so long however much it is used.
const LONGEST: TimeDelta = TimeDelta::days(90);

/// How old a note of the last use may be before it is written anew: one write a minute for each session is enough.
const SEEN_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// Carries the token against forged requests where there is no form to hold it.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// Sets or takes away the cookie, as a part of a response.
pub type SetCookie = AppendHeaders<[(HeaderName, String); 1]>;

/// A browser that is signed in.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub user: User,
    /// What every form of this session must send back.
    pub csrf: String,
}

impl Session {
    /// Whether `sent` is this session's token. Takes the same time however much of it is right.
    pub fn accepts_csrf(&self, sent: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.csrf.as_bytes(), sent.as_bytes()).is_ok()
    }
}

/// The session that a request belongs to, if it is one that is alive; notes that it was used.
///
/// A cookie of a session that is over makes its sender nobody, not a wrongdoer: browsers keep them.
pub async fn session_of(parts: &Parts, web: &Web) -> Result<Option<Session>, Problem> {
    let Some(value) = cookie_value(&parts.headers, web) else {
        return Ok(None);
    };
    let Some(owner) = owner_of(&value, web).await? else {
        return Ok(None);
    };
    note_use(&owner, web);
    Ok(Some(Session {
        id: owner.session,
        user: owner.user,
        csrf: csrf_of(&value),
    }))
}

/// Signs a browser in: a new session, whatever it had `before`. The cookie is to be part of the response.
pub async fn begin(
    web: &Web,
    user: &UserId,
    before: Option<&Session>,
    visitor: &Visitor,
) -> Result<SetCookie, Problem> {
    let value = new_session_value();
    let (hash, address, alive) = (token_hash(value.expose_secret()), visitor.address_text(), alive(web));
    let new = NewSession {
        id: SessionId::new(),
        user,
        hash: hash.as_bytes(),
        created_at: alive.now,
        expires_at: alive.now + LONGEST,
        address: &address,
        user_agent: &visitor.user_agent,
    };
    web.store
        .add_session(&new, before.map(|before| &before.id), alive)
        .await?;
    if before.is_some() {
        web.signals.access_changed();
    }
    Ok(set_cookie(web, value.expose_secret(), LONGEST))
}

/// Signs a browser out. The cookie's removal is to be part of the response.
pub async fn end(web: &Web, session: &Session) -> Result<SetCookie, Problem> {
    web.store.end_session(&session.user.id, &session.id).await?;
    web.signals.access_changed();
    Ok(set_cookie(web, "", TimeDelta::zero()))
}

/// Which sessions are alive now.
pub fn alive(web: &Web) -> Alive {
    let now = web.clock.now();
    Alive {
        now,
        idle_since: now - IDLE,
    }
}

fn cookie_value(headers: &HeaderMap, web: &Web) -> Option<SecretString> {
    let jar = CookieJar::from_headers(headers);
    let value = jar.get(cookie_name(web))?.value();
    // Anything else was not made here; this bounds what is hashed.
    (value.len() == 64).then(|| SecretString::from(value))
}

async fn owner_of(value: &SecretString, web: &Web) -> Result<Option<SessionOwner>, Problem> {
    let hash = token_hash(value.expose_secret());
    Ok(web.store.session_with(hash.as_bytes(), alive(web)).await?)
}

/// In the background: whoever only reads does not wait for a write.
fn note_use(owner: &SessionOwner, web: &Web) {
    let now = web.clock.now();
    if now - owner.last_seen_at < SEEN_AGAIN {
        return;
    }
    let (store, session) = (web.store.clone(), owner.session.clone());
    tokio::spawn(async move {
        if let Err(error) = store.session_seen(&session, now).await {
            tracing::debug!(%error, "failed to note the use of a session");
        }
    });
}

fn csrf_of(value: &SecretString) -> String {
    let mut hash = Sha256::new();
    hash.update("csrf:");
    hash.update(value.expose_secret());
    hex::encode(hash.finalize())
}

fn is_behind_tls(web: &Web) -> bool {
    web.settings.base_url.starts_with("https://")
}

fn cookie_name(web: &Web) -> &'static str {
    match is_behind_tls(web) {
        true => HOST_COOKIE,
        false => COOKIE,
    }
}

/// No script may read it, no other site's form sends it along.
fn set_cookie(web: &Web, value: &str, age: TimeDelta) -> SetCookie {
    let (name, age) = (cookie_name(web), age.num_seconds());
    let secure = if is_behind_tls(web) { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
    AppendHeaders([(header::SET_COOKIE, cookie)])
}
