//! Making an organisation.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use http::StatusCode;
use serde::Deserialize;

use super::path_of;
use crate::{
    domain::repository::Visibility,
    web::{
        Web,
        audit::Origin,
        organisations::{self, Wish},
        pages::{
            form::{FormErrors, Submitted},
            notice::Notice,
            page::{PageResult, done, render_with, sentence},
            viewer::Viewer,
        },
        parameters::Query,
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/organisations/new", get(show).post(create))
}

#[derive(Template)]
#[template(path = "organisation/new.html")]
struct NewPage {
    viewer: Viewer,
    errors: FormErrors,
    form: NewForm,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewForm {
    name: String,
    display_name: String,
    description: String,
    default_visibility: Visibility,
}

async fn show(viewer: Viewer, Query(()): Query<()>) -> PageResult {
    viewer.user()?;
    render(viewer, NewForm::default(), StatusCode::OK, FormErrors::default())
}

fn render(viewer: Viewer, form: NewForm, status: StatusCode, errors: FormErrors) -> PageResult {
    render_with(status, &NewPage { viewer, errors, form })
}

async fn create(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<NewForm>,
) -> PageResult {
    let wish = Wish {
        display_name: form.display_name.trim().to_owned(),
        description: form.description.trim().to_owned(),
        default_visibility: form.default_visibility,
    };
    match organisations::create(&web, &viewer.caller, &origin, form.name.trim(), wish).await {
        Ok(made) => {
            let notice = format!("{} was made. Invite its members.", made.name);
            let path = format!("{}/members", path_of(&made.name));
            Ok(done(&path, &Notice::good(notice)))
        }
        Err(problem)
            if matches!(
                problem.status(),
                StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT
            ) =>
        {
            let errors = match problem.errors() {
                [] => FormErrors::one("name", sentence(problem.detail())),
                errors => FormErrors::new(errors.to_vec()),
            };
            render(viewer, form, problem.status(), errors)
        }
        Err(problem) => Err(problem),
    }
}
