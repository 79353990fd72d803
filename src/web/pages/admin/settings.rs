//! The server's own settings: those that are changed here, and those that it was started with.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use serde::Deserialize;
use serde_json::json;

use crate::{
    domain::audit::Action,
    store::OrganisationMakers,
    web::{
        Web,
        audit::Origin,
        pages::{
            form::Submitted,
            notice::Notice,
            page::{PageResult, done, render},
            viewer::Viewer,
        },
        parameters::Query,
    },
};

const PATH: &str = "/admin/settings";

pub(super) fn routes() -> Router<Web> {
    Router::new().route(PATH, get(show).post(save))
}

#[derive(Template)]
#[template(path = "admin/settings.html")]
struct SettingsPage {
    viewer: Viewer,
    organisation_makers: OrganisationMakers,
    started_with: Vec<(&'static str, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsForm {
    organisation_makers: OrganisationMakers,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    viewer.caller.admin()?;
    render(&SettingsPage {
        organisation_makers: web.store.organisation_makers().await?,
        started_with: web.settings.started_with.clone(),
        viewer,
    })
}

async fn save(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<SettingsForm>,
) -> PageResult {
    let actor = origin.actor(&viewer.caller.admin()?.name);
    web.store.set_organisation_makers(form.organisation_makers).await?;
    let detail = json!({ "to": form.organisation_makers.as_str() });
    web.note(actor.did(Action::SettingChanged, "who makes organisations", "", detail))
        .await;
    Ok(done(PATH, &Notice::good("The settings were saved.")))
}
