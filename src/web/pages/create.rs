//! Create automated build: from a source to a repository with its rules, on one page. What is typed is checked as a document
//! that comes by the API is.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use http::StatusCode;

use super::{
    form::{FormErrors, Submitted},
    page::{PageResult, render, render_with, see_other},
    repository_form::{Pairs, RepositoryForm, Sheet, SheetContext, Wish},
    shown_once,
    viewer::Viewer,
};
use crate::{
    domain::{
        access::Role,
        repository::{RepositoryName, check_name},
    },
    web::{
        Web,
        api::{self, Expected, RepositoryInput},
        audit::Origin,
        json::parse_value,
        parameters::{FromParameters, Parameters, Query},
        problem::{FieldError, Problem},
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/new", get(show).post(create))
        .route("/new/preview", post(preview))
}

#[derive(Template)]
#[template(path = "create.html")]
struct CreatePage {
    viewer: Viewer,
    sheet: Sheet,
}

/// What the rules of a form would build, for the script to put in place.
#[derive(Template)]
#[template(path = "repository_previews.html")]
struct Previews {
    sheet: Sheet,
}

/// The parameters of [`show`].
struct NewParameters {
    namespace: Option<String>,
}

impl FromParameters for NewParameters {
    const NAMES: &'static [&'static str] = &["namespace"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            namespace: parameters.take("namespace")?,
        })
    }
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<NewParameters>) -> PageResult {
    let own = viewer.user()?.name.clone();
    let namespace = parameters
        .namespace
        .filter(|asked| viewer.caller.has_role(asked, Role::Admin) && check_name(asked).is_ok())
        .unwrap_or(own);
    let visibility = web.store.visibility_of_new(&namespace).await?;
    let form = RepositoryForm::new(namespace, visibility);
    let sheet = sheet(&web, &viewer, form, FormErrors::default());
    render(&CreatePage { viewer, sheet })
}

fn sheet(web: &Web, viewer: &Viewer, form: RepositoryForm, errors: FormErrors) -> Sheet {
    let mut namespaces = namespaces(viewer);
    if !form.namespace.is_empty() && !namespaces.contains(&form.namespace) {
        namespaces.push(form.namespace.clone());
    }
    let context = SheetContext {
        namespaces,
        any_namespace: viewer.is_admin(),
        default_registry: web.settings.default_registry.clone(),
        credentials_set: false,
        stored_secrets: vec![],
        now: viewer.now,
    };
    Sheet::new(form, errors, context)
}

/// Where somebody may make repositories, their own namespace first.
fn namespaces(viewer: &Viewer) -> Vec<String> {
    let own = viewer.name().map(str::to_owned);
    let organisations = viewer.organisations().into_iter().map(str::to_owned);
    own.into_iter()
        .chain(organisations.filter(|name| viewer.caller.has_role(name, Role::Admin)))
        .collect()
}

async fn preview(
    State(web): State<Web>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<Pairs>,
) -> PageResult {
    let (form, _) = form.read()?;
    let sheet = sheet(&web, &viewer, form, FormErrors::default());
    render(&Previews { sheet })
}

async fn create(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<Pairs>,
) -> PageResult {
    let (mut form, wish) = form.read()?;
    if !form.other_namespace.trim().is_empty() {
        form.namespace = std::mem::take(&mut form.other_namespace);
    }
    if wish == Wish::ShowAgain {
        let sheet = sheet(&web, &viewer, form, FormErrors::default());
        return render(&CreatePage { viewer, sheet });
    }
    form.tidy();
    match save(&web, &viewer, &origin, &form).await? {
        Ok(response) => Ok(response),
        Err(faults) => {
            let sheet = sheet(&web, &viewer, form, FormErrors::new(faults));
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &CreatePage { viewer, sheet })
        }
    }
}

/// Makes the repository and starts its first builds; or every fault of the form.
async fn save(
    web: &Web,
    viewer: &Viewer,
    origin: &Origin,
    form: &RepositoryForm,
) -> Result<Result<Response, Vec<FieldError>>, Problem> {
    let user = viewer.user()?;
    let mut faults = form.own_faults(None);
    faults.extend(check_place(viewer, form));
    let input: RepositoryInput = match parse_value(&form.to_document(serde_json::Value::Null, true)) {
        Ok(input) => input,
        Err(problem) => return faults_of(form, faults, problem),
    };
    let (namespace, name) = (form.namespace.trim(), form.name.trim());
    let name = match (RepositoryName::new(namespace, name), faults.is_empty()) {
        (Ok(name), true) => name,
        (name, _) => {
            // What else is wrong does not depend on the name.
            let name = name.or_else(|_| RepositoryName::new(&user.name, "new"));
            if let Ok(name) = name
                && let Err(problem) = api::check(web, &viewer.caller, &name, &input, None).await
            {
                return faults_of(form, faults, problem);
            }
            return Ok(Err(faults));
        }
    };
    let saved = match api::save(web, &origin.actor(&user.name), &name, &input, Expected::Nothing).await {
        Ok(saved) => saved,
        Err(problem) => return faults_of(form, faults, problem),
    };
    api::start_first_builds(web, &saved.repository, &user.name).await?;
    let response = see_other(&format!("/r/{name}/created"));
    let response = match &saved.webhook_secret {
        Some(secret) => shown_once::hand_over(web, viewer, &saved.repository, secret, response)?,
        None => response,
    };
    Ok(Ok(response))
}

/// What is wrong with where the repository is to be.
fn check_place(viewer: &Viewer, form: &RepositoryForm) -> Vec<FieldError> {
    let (namespace, name) = (form.namespace.trim(), form.name.trim());
    let mut faults = Vec::new();
    match check_name(namespace) {
        Err(error) => faults.push(FieldError::new("namespace", error.to_string())),
        Ok(()) if !viewer.caller.has_role(namespace, Role::Admin) => {
            let message = format!("you may not make repositories in `{namespace}`");
            faults.push(FieldError::new("namespace", message));
        }
        Ok(()) => {}
    }
    match check_name(name) {
        Err(_) if name.is_empty() => faults.push(FieldError::new("name", "type a name for the image")),
        Err(error) => faults.push(FieldError::new("name", error.to_string())),
        Ok(()) => {}
    }
    faults
}

/// The form's own faults and those that a problem names; a problem that names none is passed on.
pub(super) fn faults_of<T>(
    form: &RepositoryForm,
    mut faults: Vec<FieldError>,
    problem: Problem,
) -> Result<Result<T, Vec<FieldError>>, Problem> {
    let found = form.faults_of(problem.errors());
    match found.is_empty() && faults.is_empty() {
        true => Err(problem),
        false => {
            faults.extend(found);
            Ok(Err(faults))
        }
    }
}
