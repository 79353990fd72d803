//! Of which builds one is told by mail.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use serde::Deserialize;

use crate::{
    domain::notice::Wish,
    web::{
        Web,
        pages::{
            form::Submitted,
            notice::Notice,
            page::{PageResult, done, render},
            viewer::Viewer,
        },
        parameters::Query,
    },
};

const PATH: &str = "/settings/notifications";

pub(super) fn routes() -> Router<Web> {
    Router::new().route(PATH, get(show).post(save))
}

#[derive(Template)]
#[template(path = "settings/notifications.html")]
struct NotificationsPage {
    viewer: Viewer,
    /// Where mail goes; empty where no address is known.
    email: String,
    /// Whether this server can send any.
    sends_mail: bool,
    choices: Vec<Choice>,
}

struct Choice {
    value: &'static str,
    label: &'static str,
    is_chosen: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NotificationsForm {
    notify: Wish,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    let user = &viewer.user()?.id;
    let wish = web.store.notify_wish(user).await?.unwrap_or_default();
    let profile = web.store.profile(user).await?.unwrap_or_default();
    let choice = |known: Wish| Choice {
        value: known.as_str(),
        label: known.words(),
        is_chosen: known == wish,
    };
    render(&NotificationsPage {
        viewer,
        email: profile.email,
        sends_mail: web.settings.sends_mail,
        choices: Wish::ALL.into_iter().map(choice).collect(),
    })
}

async fn save(
    State(web): State<Web>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<NotificationsForm>,
) -> PageResult {
    web.store.set_notify_wish(&viewer.user()?.id, form.notify).await?;
    Ok(done(PATH, &Notice::good("What you are told of was saved.")))
}
