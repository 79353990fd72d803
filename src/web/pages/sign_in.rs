//! Signing in and out by name and password. Whether a name is known is told neither by the answer nor by its time.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderValue, StatusCode, header};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::{
    form::{Submitted, Unsigned},
    page::{PageResult, local_path, render_with, see_other},
    viewer::Viewer,
};
use crate::{
    domain::{audit::Action, repository::check_name},
    web::{
        Web,
        audit::Origin,
        parameters::{FromParameters, Parameters, Query},
        password_work::typed,
        problem::FieldError,
        session,
        throttle::Wait,
        visitor::Visitor,
    },
};

const REFUSED: &str = "This name and this password do not belong together. Check both, capital letters too.";

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/sign-in", get(show).post(sign_in))
        .route("/sign-out", post(sign_out))
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    viewer: Viewer,
    /// Why it was not done; empty where nothing was tried.
    refused: String,
    name: String,
    next: String,
    /// What people call the service by which they can sign in too, and where that begins.
    provider: Option<(String, String)>,
}

/// Where to go afterwards.
struct Next(String);

impl FromParameters for Next {
    const NAMES: &'static [&'static str] = &["next"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self(parameters.take("next")?.unwrap_or_default()))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignIn {
    name: String,
    #[serde(deserialize_with = "typed")]
    password: SecretString,
    #[serde(default)]
    next: String,
}

/// Signing out asks for nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn show(State(web): State<Web>, viewer: Viewer, Query(Next(next)): Query<Next>) -> PageResult {
    if viewer.session.is_some() {
        return Ok(see_other(local_path(&next)));
    }
    if web.store.needs_set_up().await? {
        return Ok(see_other("/set-up"));
    }
    render(&web, viewer, StatusCode::OK, String::new(), String::new(), next)
}

fn render(
    web: &Web,
    mut viewer: Viewer,
    status: StatusCode,
    refused: String,
    name: String,
    next: String,
) -> PageResult {
    viewer.can_sign_in = false;
    let next = local_path(&next).to_owned();
    let provider = web.provider.as_ref().map(|provider| {
        let back: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        (provider.name.clone(), format!("/sign-in/oidc?next={back}"))
    });
    let page = SignInPage {
        viewer,
        refused,
        name,
        next,
        provider,
    };
    render_with(status, &page)
}

async fn sign_in(
    State(web): State<Web>,
    visitor: Visitor,
    origin: Origin,
    viewer: Viewer,
    Query(()): Query<()>,
    Unsigned(form): Unsigned<SignIn>,
) -> PageResult {
    let name = form.name.trim();
    let tried = web.throttle.attempt(Some(name), visitor.address, web.clock.now());
    if let Err(wait) = tried {
        let refused = format!("There were too many attempts. {}", try_again(wait));
        let page = render(
            &web,
            viewer,
            StatusCode::TOO_MANY_REQUESTS,
            refused,
            form.name,
            form.next,
        )?;
        return Ok(with_retry_after(page, wait));
    }
    let known = web.store.user_with_password(name).await?;
    let (user, hash) = known.unzip();
    let is_right = web.passwords.verify(form.password, hash).await?;
    let Some(user) = user.filter(|_| is_right) else {
        // What cannot be a name may be a password in the wrong field.
        let typed = match check_name(name) {
            Ok(()) => name,
            Err(_) => "(no name)",
        };
        tracing::info!(user = typed, address = visitor.address_text(), "a sign-in was refused");
        let failed = origin.actor(typed).did(Action::SignInFailed, typed, "", json!({}));
        web.note(failed).await;
        return render(
            &web,
            viewer,
            StatusCode::UNPROCESSABLE_ENTITY,
            REFUSED.to_owned(),
            form.name,
            form.next,
        );
    };
    web.throttle.succeeded(Some(name), visitor.address);
    let cookie = session::begin(&web, &user.id, viewer.session.as_ref(), &visitor).await?;
    tracing::info!(user = user.name, address = visitor.address_text(), "signed in");
    let signed_in = origin
        .actor(&user.name)
        .did(Action::SignedIn, &user.name, "", json!({}));
    web.note(signed_in).await;
    Ok((cookie, see_other(local_path(&form.next))).into_response())
}

async fn sign_out(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted {
        viewer,
        form: Nothing {},
    }: Submitted<Nothing>,
) -> PageResult {
    let Some(session) = &viewer.session else {
        return Ok(see_other("/sign-in"));
    };
    let cookie = session::end(&web, session).await?;
    let (name, detail) = (&session.user.name, json!({ "signed_out": true }));
    web.note(origin.actor(name).did(Action::SessionEnded, name, "", detail))
        .await;
    Ok((cookie, see_other("/sign-in")).into_response())
}

/// `Try again in 4 seconds.`
pub(super) fn try_again(wait: Wait) -> String {
    match wait.seconds() {
        1 => "Try again in a second.".to_owned(),
        seconds @ 2..120 => format!("Try again in {seconds} seconds."),
        seconds => format!("Try again in {} minutes.", (seconds + 59) / 60),
    }
}

pub(super) fn with_retry_after(mut response: Response, wait: Wait) -> Response {
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(wait.seconds()));
    response
}
