//! The browsers that one is signed in with, and ending them.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::IntoResponse,
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use crate::{
    domain::{audit::Action, ids::SessionId},
    store::StoredSession,
    web::{
        Web,
        audit::Origin,
        pages::{
            form::Submitted,
            notice::Notice,
            page::{PageResult, done, render, see_other},
            viewer::Viewer,
            words::When,
        },
        parameters::Query,
        problem::Problem,
        session,
    },
};

const PATH: &str = "/settings/sessions";

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(PATH, get(show))
        .route("/settings/sessions/end", post(end))
        .route("/settings/sessions/end-others", post(end_others))
}

#[derive(Template)]
#[template(path = "settings/sessions.html")]
struct SessionsPage {
    viewer: Viewer,
    sessions: Vec<Row>,
}

struct Row {
    id: String,
    is_current: bool,
    browser: String,
    user_agent: String,
    address: String,
    began: When,
    seen: When,
}

impl Row {
    fn new(session: StoredSession, current: Option<&SessionId>, now: DateTime<Utc>) -> Self {
        Self {
            is_current: current == Some(&session.id),
            id: session.id.to_string(),
            browser: browser(&session.user_agent),
            user_agent: session.user_agent,
            address: session.address,
            began: When::new(session.created_at, now),
            seen: When::new(session.last_seen_at, now),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndOthers {}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    let sessions = web.store.sessions_of(&viewer.user()?.id, session::alive(&web)).await?;
    let current = viewer.session.as_ref().map(|session| &session.id);
    let rows = sessions
        .into_iter()
        .map(|session| Row::new(session, current, viewer.now));
    render(&SessionsPage {
        sessions: rows.collect(),
        viewer,
    })
}

async fn end(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<End>,
) -> PageResult {
    let user = viewer.user()?;
    let ended = SessionId::from(form.id);
    let was_ended = origin
        .actor(&user.name)
        .did(Action::SessionEnded, &user.name, "", json!({}));
    if let Some(own) = viewer.session.as_ref().filter(|own| own.id == ended) {
        let cookie = session::end(&web, own).await?;
        web.note(was_ended).await;
        return Ok((cookie, see_other("/sign-in")).into_response());
    }
    if !web.store.end_session(&user.id, &ended).await? {
        return Err(Problem::not_found("session"));
    }
    web.signals.access_changed();
    web.note(was_ended).await;
    Ok(done(PATH, &Notice::good("The session was ended.")))
}

async fn end_others(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted {
        viewer,
        form: EndOthers {},
    }: Submitted<EndOthers>,
) -> PageResult {
    let user = viewer.user()?;
    let own = viewer.session.as_ref().map(|session| &session.id);
    let sessions = web.store.end_sessions(&user.id, own).await?;
    web.signals.access_changed();
    let detail = json!({ "sessions": sessions });
    web.note(
        origin
            .actor(&user.name)
            .did(Action::SessionEnded, &user.name, "", detail),
    )
    .await;
    Ok(done(PATH, &Notice::good("Every other session was ended.")))
}

/// A browser's name and system, as people call them, from what it says of itself.
fn browser(user_agent: &str) -> String {
    // The first that fits: most of them also claim to be those after them.
    const BROWSERS: [(&str, &str); 7] = [
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    const SYSTEMS: [(&str, &str); 6] = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ];
    let first = |known: &[(&str, &'static str)]| {
        let found = known.iter().find(|(mark, _)| user_agent.contains(mark));
        found.map(|(_, name)| *name)
    };
    match (first(&BROWSERS), first(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => "Another program".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_called_what_people_call_them() {
        for (user_agent, expected) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 \
                 Edg/140.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 \
                 Mobile/15E148 Safari/604.1",
                "Safari on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("Firefox/1", "Firefox"),
            ("curl/8.14.1", "Another program"),
            ("", "Another program"),
        ] {
            assert_eq!(browser(user_agent), expected);
        }
    }
}
