//! What an organisation says of itself, who sees its new repositories, and its end.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;

use super::{OrganisationHead, Tab, members::told, path_of};
use crate::{
    domain::{access::Role, repository::Visibility},
    store::Organisation,
    web::{
        Web,
        audit::Origin,
        organisations::{self, Wish},
        pages::{
            form::{FormErrors, Submitted},
            notice::Notice,
            page::{PageResult, done, render_with},
            viewer::Viewer,
        },
        parameters::{Query, Segments},
        problem::Problem,
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/o/{organisation}/settings", get(show).post(save))
        .route("/o/{organisation}/settings/delete", post(delete))
}

#[derive(Template)]
#[template(path = "organisation/settings.html")]
struct SettingsPage {
    viewer: Viewer,
    head: OrganisationHead,
    errors: FormErrors,
    form: SettingsForm,
}

/// Also what a new organisation is asked for, besides its name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsForm {
    display_name: String,
    description: String,
    default_visibility: Visibility,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteForm {
    /// The name once more, against slips.
    confirm: String,
}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let form = SettingsForm {
        display_name: organisation.display_name.clone(),
        description: organisation.description.clone(),
        default_visibility: organisation.default_visibility,
    };
    render(viewer, &organisation, form, StatusCode::OK, FormErrors::default())
}

fn render(
    viewer: Viewer,
    organisation: &Organisation,
    form: SettingsForm,
    status: StatusCode,
    errors: FormErrors,
) -> PageResult {
    let page = SettingsPage {
        head: OrganisationHead::new(&viewer, organisation, Tab::Settings),
        viewer,
        errors,
        form,
    };
    render_with(status, &page)
}

async fn save(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<SettingsForm>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let wish = Wish {
        display_name: form.display_name.trim().to_owned(),
        description: form.description.trim().to_owned(),
        default_visibility: form.default_visibility,
    };
    match organisations::change(&web, &viewer.caller, &origin, organisation.clone(), wish).await {
        Ok(_) => {
            let path = format!("{}/settings", path_of(&organisation.name));
            Ok(done(&path, &Notice::good("The organisation was saved.")))
        }
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let errors = FormErrors::new(problem.errors().to_vec());
            render(viewer, &organisation, form, problem.status(), errors)
        }
        Err(problem) => Err(problem),
    }
}

async fn delete(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<DeleteForm>,
) -> PageResult {
    let organisation = organisations::find_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let path = format!("{}/settings", path_of(&organisation.name));
    if form.confirm.trim() != organisation.name {
        let problem = Problem::conflict(format!("nothing was deleted: type `{name}` to confirm"));
        return told(&path, Err(problem));
    }
    match organisations::delete(&web, &viewer.caller, &origin, &organisation).await {
        Ok(()) => told("/settings/organisations", Ok(format!("{name} was deleted."))),
        Err(problem) => told(&path, Err(problem)),
    }
}
