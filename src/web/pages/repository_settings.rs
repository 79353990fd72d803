//! Build settings: everything that was typed when the repository was made, and what can only be replaced or ended. Nobody
//! silently overwrites what somebody else saved in between.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use axum_extra::extract::CookieJar;
use chrono::{DateTime, Utc};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    create::faults_of,
    created::webhook_url,
    form::{FormErrors, Submitted},
    notice::Notice,
    page::{PageResult, done, render_with, see_other},
    repository_form::{Pairs, RepositoryForm, Sheet, SheetContext, Wish},
    repository_head::{RepositoryHead, Tab},
    shown_once,
    viewer::Viewer,
};
use crate::{
    domain::{
        access::Role,
        repository::{Repository, Visibility},
    },
    tokens,
    web::{
        Web,
        api::{self, Expected, RepositoryInput},
        audit::Origin,
        auth::repository_for,
        json::parse_value,
        parameters::{Query, Segments},
        problem::{FieldError, Problem},
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/r/{namespace}/{name}/settings", get(show).post(save))
        .route("/r/{namespace}/{name}/settings/visibility", post(set_visibility))
        .route("/r/{namespace}/{name}/settings/webhook-secret", post(replace_secret))
        .route("/r/{namespace}/{name}/settings/delete", post(delete))
}

#[derive(Template)]
#[template(path = "repository_settings.html")]
struct SettingsPage {
    viewer: Viewer,
    head: RepositoryHead,
    /// `namespace/name`
    repository: String,
    sheet: Sheet,
    is_private: bool,
    webhook_url: String,
    /// The webhook's secret, right after it was made.
    secret: Option<String>,
    /// Whether somebody else saved something in between.
    is_conflict: bool,
    may_delete: bool,
    /// What is wrong with the form that deletes.
    delete_fault: Option<&'static str>,
    /// What is wrong with the form that replaces the webhook's secret.
    secret_fault: Option<String>,
}

/// What happened before the page is shown.
#[derive(Default)]
struct Before {
    errors: Vec<FieldError>,
    secret: Option<String>,
    is_conflict: bool,
    delete_fault: Option<&'static str>,
    secret_fault: Option<String>,
}

async fn page(
    web: &Web,
    viewer: Viewer,
    repository: &Repository,
    form: RepositoryForm,
    before: Before,
    status: StatusCode,
) -> PageResult {
    let context = SheetContext {
        namespaces: vec![],
        any_namespace: false,
        default_registry: web.settings.default_registry.clone(),
        credentials_set: repository.source.credentials_set,
        stored_secrets: repository.build_secrets.clone(),
        now: viewer.now,
    };
    let page = SettingsPage {
        head: RepositoryHead::new(web, &viewer, repository, Tab::Settings).await?,
        repository: repository.name.to_string(),
        sheet: Sheet::new(form, FormErrors::new(before.errors), context),
        is_private: repository.visibility == Visibility::Private,
        webhook_url: webhook_url(web, repository),
        secret: before.secret,
        is_conflict: before.is_conflict,
        may_delete: viewer.caller.has_role(repository.name.namespace(), Role::Owner),
        delete_fault: before.delete_fault,
        secret_fault: before.secret_fault,
        viewer,
    };
    render_with(status, &page)
}

/// The repository, if the viewer may change it.
pub(super) async fn editable(web: &Web, viewer: &Viewer, name: &(String, String)) -> Result<Repository, Problem> {
    viewer.user()?;
    let (repository, _) = repository_for(web, &viewer.caller, name, Role::Admin).await?;
    Ok(repository)
}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    cookies: CookieJar,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> PageResult {
    let repository = editable(&web, &viewer, &name).await?;
    let before = Before {
        secret: shown_once::waiting(&web, &viewer, &repository, &cookies),
        ..Before::default()
    };
    let form = RepositoryForm::of(&repository);
    let response = page(&web, viewer, &repository, form, before, StatusCode::OK).await?;
    Ok(shown_once::forget(&web, &repository, response))
}

async fn save(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<Pairs>,
) -> PageResult {
    let repository = editable(&web, &viewer, &name).await?;
    let (mut form, wish) = form.read()?;
    // The address says which repository it is, whatever the form does.
    form.namespace = repository.name.namespace().to_owned();
    form.name = repository.name.name().to_owned();
    if wish == Wish::ShowAgain {
        return page(&web, viewer, &repository, form, Before::default(), StatusCode::OK).await;
    }
    form.tidy();
    let (before, status) = match store(&web, &viewer, &origin, &repository, &form).await {
        Ok(Ok(())) => {
            let path = format!("/r/{}/settings", repository.name);
            return Ok(done(&path, &Notice::good("The settings were saved.")));
        }
        Ok(Err(errors)) => {
            let before = Before {
                errors,
                ..Before::default()
            };
            (before, StatusCode::UNPROCESSABLE_ENTITY)
        }
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let before = Before {
                is_conflict: true,
                ..Before::default()
            };
            (before, StatusCode::CONFLICT)
        }
        Err(problem) => return Err(problem),
    };
    let repository = editable(&web, &viewer, &name).await?;
    if before.is_conflict {
        // Whoever has read that somebody else was faster may save over it.
        form.version = repository.updated_at.to_rfc3339();
    }
    page(&web, viewer, &repository, form, before, status).await
}

async fn store(
    web: &Web,
    viewer: &Viewer,
    origin: &Origin,
    repository: &Repository,
    form: &RepositoryForm,
) -> Result<Result<(), Vec<FieldError>>, Problem> {
    let version = version(&form.version)?;
    let faults = form.own_faults(Some(repository));
    let base = api::document_of(web, &viewer.caller, repository).await?;
    let input: RepositoryInput = match parse_value(&form.to_document(base, false)) {
        Ok(input) => input,
        Err(problem) => return faults_of(form, faults, problem),
    };
    if !faults.is_empty() {
        return match api::check(web, &viewer.caller, &repository.name, &input, Some(repository)).await {
            Ok(()) => Ok(Err(faults)),
            Err(problem) => faults_of(form, faults, problem),
        };
    }
    let actor = origin.actor(&viewer.user()?.name);
    match api::save(web, &actor, &repository.name, &input, Expected::ChangedAt(version)).await {
        Ok(_) => Ok(Ok(())),
        Err(problem) => faults_of(form, faults, problem),
    }
}

/// The state that a form was made from. One that cannot be read was not made by us: 409, as nobody knows what it is about.
fn version(text: &str) -> Result<DateTime<Utc>, Problem> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.to_utc())
        .map_err(|_| Problem::conflict("the form does not say which state of the repository it changes"))
}

/// Changes single fields of the stored document, whatever else it says now.
pub(super) async fn change(
    web: &Web,
    viewer: &Viewer,
    origin: &Origin,
    repository: &Repository,
    edit: impl FnOnce(&mut Value),
) -> Result<(), Problem> {
    let mut document = api::document_of(web, &viewer.caller, repository).await?;
    edit(&mut document);
    let input: RepositoryInput = parse_value(&document)?;
    let expected = Expected::ChangedAt(repository.updated_at);
    let actor = origin.actor(&viewer.user()?.name);
    api::save(web, &actor, &repository.name, &input, expected).await?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VisibilityForm {
    visibility: Visibility,
}

async fn set_visibility(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<VisibilityForm>,
) -> PageResult {
    let repository = editable(&web, &viewer, &name).await?;
    change(&web, &viewer, &origin, &repository, |document| {
        document["visibility"] = json!(form.visibility)
    })
    .await?;
    let says = match form.visibility {
        Visibility::Public => "Everybody can see this repository, its builds and their logs now.",
        Visibility::Private => "This repository is private now: others do not see that it exists.",
    };
    Ok(done(&format!("/r/{}/settings", repository.name), &Notice::good(says)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretForm {
    /// Empty: one is made.
    #[serde(default)]
    webhook_secret: String,
}

async fn replace_secret(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<SecretForm>,
) -> PageResult {
    let repository = editable(&web, &viewer, &name).await?;
    let own = form.webhook_secret.trim();
    let made = tokens::new_webhook_secret();
    let secret = if own.is_empty() { made.expose_secret() } else { own };
    let changed = change(&web, &viewer, &origin, &repository, |document| {
        document["source"]["webhook_secret"] = json!(secret);
    });
    if let Err(problem) = changed.await {
        let Some(fault) = problem.errors().first() else {
            return Err(problem);
        };
        let before = Before {
            secret_fault: Some(fault.message.clone()),
            ..Before::default()
        };
        let form = RepositoryForm::of(&repository);
        return page(
            &web,
            viewer,
            &repository,
            form,
            before,
            StatusCode::UNPROCESSABLE_ENTITY,
        )
        .await;
    }
    let path = format!("/r/{}/settings#webhook", repository.name);
    match own.is_empty() {
        true => shown_once::hand_over(&web, &viewer, &repository, secret, see_other(&path)),
        false => Ok(done(&path, &Notice::good("The webhook's secret was replaced."))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteForm {
    confirm: String,
}

async fn delete(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<DeleteForm>,
) -> Result<Response, Problem> {
    viewer.user()?;
    let (repository, user) = repository_for(&web, &viewer.caller, &name, Role::Owner).await?;
    let actor = origin.actor(&user.name);
    if form.confirm.trim() != repository.name.to_string() {
        let before = Before {
            delete_fault: Some("this is not its name; nothing was deleted"),
            ..Before::default()
        };
        let form = RepositoryForm::of(&repository);
        return page(
            &web,
            viewer,
            &repository,
            form,
            before,
            StatusCode::UNPROCESSABLE_ENTITY,
        )
        .await;
    }
    api::delete(&web, &actor, &repository).await?;
    let says = format!(
        "{} was deleted, with its builds and logs. Pushed images stay at their registry.",
        repository.name
    );
    Ok(done("/", &Notice::good(says)))
}
