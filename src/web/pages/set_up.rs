//! The page that makes the first administrator, for whoever reads the one-time code in the service's log.

use askama::Template;
use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::{
    form::{FormErrors, Unsigned},
    notice::Notice,
    page::{PageResult, done, render_with, see_other},
    sign_in::{try_again, with_retry_after},
    viewer::Viewer,
};
use crate::{
    domain::{access::Access, audit::Action, ids::UserId, repository::check_name},
    store::{SetUp, User},
    tokens::{normal_set_up_code, token_hash},
    web::{Web, audit::Origin, parameters::Query, password_work::typed, session, visitor::Visitor},
};

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/set-up", get(show).post(set_up))
}

#[derive(Template)]
#[template(path = "set_up.html")]
struct SetUpPage {
    viewer: Viewer,
    errors: FormErrors,
    code: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstAdministrator {
    code: String,
    name: String,
    #[serde(deserialize_with = "typed")]
    password: SecretString,
}

fn render(mut viewer: Viewer, status: StatusCode, errors: FormErrors, code: String, name: String) -> PageResult {
    viewer.can_sign_in = false;
    let page = SetUpPage {
        viewer,
        errors,
        code,
        name,
    };
    render_with(status, &page)
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    match web.store.needs_set_up().await? {
        true => render(
            viewer,
            StatusCode::OK,
            FormErrors::default(),
            String::new(),
            String::new(),
        ),
        false => Ok(see_other("/sign-in")),
    }
}

async fn set_up(
    State(web): State<Web>,
    visitor: Visitor,
    origin: Origin,
    viewer: Viewer,
    Query(()): Query<()>,
    Unsigned(form): Unsigned<FirstAdministrator>,
) -> PageResult {
    let over = || {
        done(
            "/sign-in",
            &Notice::bad("This server is set up already. Sign in instead."),
        )
    };
    if !web.store.needs_set_up().await? {
        return Ok(over());
    }
    if let Err(wait) = web.throttle.attempt(None, visitor.address, web.clock.now()) {
        let errors = FormErrors::one("code", format!("there were too many attempts. {}", try_again(wait)));
        let page = render(viewer, StatusCode::TOO_MANY_REQUESTS, errors, form.code, form.name)?;
        return Ok(with_retry_after(page, wait));
    }
    let name = form.name.trim().to_owned();
    let refuse = |viewer, field: &str, message: String| {
        let errors = FormErrors::one(field, message);
        render(
            viewer,
            StatusCode::UNPROCESSABLE_ENTITY,
            errors,
            form.code.clone(),
            form.name.clone(),
        )
    };
    if let Err(error) = check_name(&name) {
        return refuse(viewer, "name", error.to_string());
    }
    let hash = match web.passwords.hash(form.password).await? {
        Ok(hash) => hash,
        Err(unfit) => return refuse(viewer, "password", unfit.to_string()),
    };
    let user = User {
        id: UserId::new(),
        name,
        is_admin: true,
        created_at: web.clock.now(),
        access: Access::default(),
    };
    let code = token_hash(&normal_set_up_code(&form.code));
    match web.store.set_up(code.as_bytes(), &user, &hash).await? {
        SetUp::Done => {}
        SetUp::Over => return Ok(over()),
        SetUp::WrongCode => {
            let message = "it is not the one that is good now. Each start of the server prints a new one in its log";
            return refuse(viewer, "code", message.to_owned());
        }
        SetUp::NameTaken => return refuse(viewer, "name", format!("`{}` is taken", user.name)),
    }
    web.throttle.succeeded(None, visitor.address);
    tracing::info!(
        user = user.name,
        address = visitor.address_text(),
        "the first administrator was made"
    );
    let detail = json!({ "is_admin": true, "through": "the set-up code" });
    web.note(
        origin
            .actor(&user.name)
            .did(Action::UserCreated, &user.name, "", detail),
    )
    .await;
    let cookie = session::begin(&web, &user.id, viewer.session.as_ref(), &visitor).await?;
    let welcome = Notice::good("Welcome. You administer this server now; the set-up code is used up.");
    Ok((cookie, done("/", &welcome)).into_response())
}
