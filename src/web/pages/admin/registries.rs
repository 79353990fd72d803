//! Registries that every build of the server may use: their credentials are given, replaced and forgotten, never shown.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use serde::Deserialize;

use crate::web::{
    Web,
    api::registries::{RegistryDocument, RegistryInput, delete_registry, registries_of, save_registry},
    audit::Origin,
    pages::{
        form::{FormErrors, Submitted},
        notice::Notice,
        page::{PageResult, done, render_with},
        viewer::Viewer,
        words::When,
    },
    parameters::Query,
};

const PATH: &str = "/admin/registries";

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(PATH, get(show).post(save))
        .route("/admin/registries/delete", post(delete))
}

#[derive(Template)]
#[template(path = "admin/registries.html")]
struct RegistriesPage {
    viewer: Viewer,
    errors: FormErrors,
    typed: SaveForm,
    /// The one that was just made, with its secret, shown this once.
    fresh: Option<RegistryDocument>,
    rows: Vec<Row>,
}

struct Row {
    registry: RegistryDocument,
    changed: When,
}

/// A password that is left empty stays what it was.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaveForm {
    host: String,
    username: String,
    #[serde(default)]
    password: String,
    /// Hosts, one a line.
    #[serde(default)]
    trusted_realms: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteForm {
    host: String,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    page(
        &web,
        viewer,
        StatusCode::OK,
        FormErrors::default(),
        SaveForm::default(),
        None,
    )
    .await
}

async fn page(
    web: &Web,
    viewer: Viewer,
    status: StatusCode,
    errors: FormErrors,
    typed: SaveForm,
    fresh: Option<RegistryDocument>,
) -> PageResult {
    let registries = registries_of(web, &viewer.caller, None).await?;
    let row = |registry: RegistryDocument| Row {
        changed: When::new(registry.updated_at, viewer.now),
        registry,
    };
    let page = RegistriesPage {
        rows: registries.into_iter().map(row).collect(),
        viewer,
        errors,
        typed,
        fresh,
    };
    render_with(status, &page)
}

async fn save(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, mut form }: Submitted<SaveForm>,
) -> PageResult {
    let password = std::mem::take(&mut form.password);
    let realms = form.trusted_realms.split_whitespace().map(str::to_owned);
    let input = RegistryInput::new(
        form.username.trim().to_owned(),
        Some(password).filter(|password| !password.is_empty()),
        realms.collect(),
    );
    let host = form.host.trim().to_owned();
    match save_registry(&web, (&viewer.caller, &origin), None, &host, input).await {
        Ok((_, false)) => Ok(done(
            PATH,
            &Notice::good(format!("The credentials for {host} were replaced.")),
        )),
        Ok((fresh, true)) => {
            let errors = FormErrors::default();
            page(
                &web,
                viewer,
                StatusCode::CREATED,
                errors,
                SaveForm::default(),
                Some(fresh),
            )
            .await
        }
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let errors = FormErrors::new(problem.errors().to_vec());
            page(&web, viewer, problem.status(), errors, form, None).await
        }
        Err(problem) => Err(problem),
    }
}

async fn delete(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<DeleteForm>,
) -> PageResult {
    delete_registry(&web, (&viewer.caller, &origin), None, &form.host).await?;
    Ok(done(
        PATH,
        &Notice::good(format!("The credentials for {} are forgotten.", form.host)),
    ))
}
