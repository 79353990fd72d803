//! A new password. It ends every other session; tokens stay unless their owner says otherwise.

use askama::Template;
use axum::{Router, extract::State, response::IntoResponse, routing::get};
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::{
    domain::audit::Action,
    passwords,
    web::{
        Web,
        audit::Origin,
        pages::{
            form::{FormErrors, Submitted},
            notice::Notice,
            page::{PageResult, done, render_with},
            sign_in::{try_again, with_retry_after},
            viewer::Viewer,
            words::counted,
        },
        parameters::Query,
        password_work::typed,
        problem::Problem,
        session,
        visitor::Visitor,
    },
};

const PATH: &str = "/settings/password";

pub(super) fn routes() -> Router<Web> {
    Router::new().route(PATH, get(show).post(save))
}

#[derive(Template)]
#[template(path = "settings/password.html")]
struct PasswordPage {
    viewer: Viewer,
    errors: FormErrors,
    /// Not so for people who come through an identity provider alone.
    has_password: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordForm {
    #[serde(default, deserialize_with = "typed")]
    current: SecretString,
    #[serde(deserialize_with = "typed")]
    new: SecretString,
    #[serde(default)]
    revoke_tokens: bool,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    let has_password = hash_of(&web, &viewer).await?.is_some();
    render(StatusCode::OK, viewer, FormErrors::default(), has_password)
}

fn render(status: StatusCode, viewer: Viewer, errors: FormErrors, has_password: bool) -> PageResult {
    let page = PasswordPage {
        viewer,
        errors,
        has_password,
    };
    render_with(status, &page)
}

/// The hash of the viewer's password, if they have one.
async fn hash_of(web: &Web, viewer: &Viewer) -> Result<Option<String>, Problem> {
    let found = web.store.user_with_password(&viewer.user()?.name).await?;
    Ok(found.map(|(_, hash)| hash).filter(|hash| passwords::is_hash(hash)))
}

async fn save(
    State(web): State<Web>,
    visitor: Visitor,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<PasswordForm>,
) -> PageResult {
    let user = viewer.user()?.clone();
    let current = hash_of(&web, &viewer).await?;
    let has_password = current.is_some();
    if has_password {
        // Whoever finds a browser open must not guess on.
        if let Err(wait) = web.throttle.attempt(Some(&user.name), visitor.address, web.clock.now()) {
            let errors = FormErrors::one("current", format!("there were too many attempts. {}", try_again(wait)));
            let page = render(StatusCode::TOO_MANY_REQUESTS, viewer, errors, has_password)?;
            return Ok(with_retry_after(page, wait));
        }
        if !web.passwords.verify(form.current, current).await? {
            let errors = FormErrors::one("current", "it is not your password");
            return render(StatusCode::UNPROCESSABLE_ENTITY, viewer, errors, has_password);
        }
        web.throttle.succeeded(Some(&user.name), visitor.address);
    }
    let hash = match web.passwords.hash(form.new).await? {
        Ok(hash) => hash,
        Err(unfit) => {
            let errors = FormErrors::one("new", unfit.to_string());
            return render(StatusCode::UNPROCESSABLE_ENTITY, viewer, errors, has_password);
        }
    };
    web.store.set_password(&user.name, &hash, None).await?;
    let tokens = match form.revoke_tokens {
        true => web.store.revoke_tokens(&user.id).await?,
        false => 0,
    };
    web.signals.access_changed();
    let detail = json!({ "tokens_revoked": form.revoke_tokens });
    web.note(
        origin
            .actor(&user.name)
            .did(Action::PasswordChanged, &user.name, "", detail),
    )
    .await;
    let cookie = session::begin(&web, &user.id, None, &visitor).await?;
    let mut said = "Your password was changed, and every other session ended.".to_owned();
    if form.revoke_tokens {
        said = format!("{said} Revoked: {}.", counted(tokens, "token"));
    }
    Ok((cookie, done(PATH, &Notice::good(said))).into_response())
}
