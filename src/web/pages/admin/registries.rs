//! Registries that every build of the server may use: their credentials are given, replaced and forgotten, never shown.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    store::RegistryRow,
    web::{
        Web,
        audit::Origin,
        pages::{
            form::{FormErrors, Submitted},
            notice::Notice,
            page::{PageResult, done, render_with},
            viewer::Viewer,
            words::When,
        },
        parameters::Query,
        registries::{self, Credentials, WHOLE_SERVER, hook_url},
    },
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
    fresh: Option<Fresh>,
    rows: Vec<Row>,
}

/// What a registry that can notify of pushes is told.
struct Fresh {
    host: String,
    url: String,
    secret: SecretString,
}

struct Row {
    registry: RegistryRow,
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
    viewer.caller.admin()?;
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
    fresh: Option<Fresh>,
) -> PageResult {
    let registries = web.store.registries_of(WHOLE_SERVER).await?;
    let row = |registry: RegistryRow| Row {
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
    let credentials = Credentials {
        username: form.username.trim().to_owned(),
        password: Some(password)
            .filter(|password| !password.is_empty())
            .map(SecretString::from),
        trusted_realms: form.trusted_realms.split_whitespace().map(str::to_owned).collect(),
    };
    let host = form.host.trim().to_owned();
    match registries::save(&web, (&viewer.caller, &origin), None, &host, credentials).await {
        Ok((_, None)) => Ok(done(
            PATH,
            &Notice::good(format!("The credentials for {host} were replaced.")),
        )),
        Ok((row, Some(secret))) => {
            let fresh = Fresh {
                url: hook_url(&web, &row),
                host: row.host,
                secret,
            };
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
    registries::delete(&web, (&viewer.caller, &origin), None, &form.host).await?;
    Ok(done(
        PATH,
        &Notice::good(format!("The credentials for {} are forgotten.", form.host)),
    ))
}
