//! Why somebody who came through the provider is not let in, said to themselves with what they can do about it.

use std::borrow::Cow;

use askama::Template;
use http::StatusCode;

use super::{
    page::{PageResult, render_with},
    viewer::Viewer,
};
use crate::{
    oidc::OidcError,
    store::StoreError,
    web::{problem::Problem, provider::SignInProvider},
};

/// Why somebody is not let in, for themselves to read.
pub(super) struct Refusal {
    status: StatusCode,
    pub(super) text: Cow<'static, str>,
}

impl Refusal {
    pub(super) const LATE: Self = Self {
        status: StatusCode::FORBIDDEN,
        text: Cow::Borrowed("It was begun too long ago, or in another browser or window. Begin again."),
    };

    pub(super) const MALFORMED: Self = Self {
        status: StatusCode::BAD_REQUEST,
        text: Cow::Borrowed("You were sent back with something that makes no sense. Begin again."),
    };

    pub(super) const CHANGED: Self = Self {
        status: StatusCode::FORBIDDEN,
        text: Cow::Borrowed("You are not signed in as the one who began this any more. Sign in, and link it again."),
    };

    pub(super) const SHUT_OUT: Self = Self {
        status: StatusCode::FORBIDDEN,
        text: Cow::Borrowed("Your account on this server cannot be used now. An administrator of it can tell why."),
    };

    pub(super) const NO_NAME: Self = Self {
        status: StatusCode::CONFLICT,
        text: Cow::Borrowed(
            "No free name like yours was found here. Ask an administrator of this server to make your account.",
        ),
    };

    fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    pub(super) fn unknown(provider: &SignInProvider) -> Self {
        let text = format!(
            "{} knows you, but no user of this server is linked to you there, and new ones are not made this way. If you \
             have an account here, sign in by password and link it in your settings, under Authorised applications; \
             otherwise ask an administrator to make one.",
            provider.name
        );
        Self::new(StatusCode::FORBIDDEN, text)
    }

    pub(super) fn by_provider(error: &str, description: Option<&str>) -> Self {
        let short = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(200).collect() };
        let text = match (error, description) {
            ("access_denied", None) => "It was cancelled, or you may not use this service there.".to_owned(),
            (error, Some(description)) => format!("The provider said: {} ({}).", short(description), short(error)),
            (error, None) => format!("The provider said: {}.", short(error)),
        };
        Self::new(StatusCode::FORBIDDEN, text)
    }
}

impl From<OidcError> for Refusal {
    fn from(error: OidcError) -> Self {
        tracing::warn!(%error, "a sign-in through the provider failed");
        let (status, advice) = match error {
            OidcError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "Try again in a moment."),
            OidcError::Provider(_) => (
                StatusCode::BAD_GATEWAY,
                "An administrator must look at the settings of this server.",
            ),
            OidcError::Refused(_) => (StatusCode::FORBIDDEN, "Begin again."),
            OidcError::Untrusted(_) => (
                StatusCode::FORBIDDEN,
                "Begin again; if it happens again, tell an administrator of this server.",
            ),
        };
        let text = error.to_string();
        let capital = text.get(..1).unwrap_or_default().to_uppercase();
        Self::new(
            status,
            format!("{capital}{}. {advice}", text.get(1..).unwrap_or_default()),
        )
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::new(problem.status(), format!("It failed here: {}.", problem.detail()))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Problem::from(error).into()
    }
}

#[derive(Template)]
#[template(path = "provider_refused.html")]
struct RefusedPage {
    viewer: Viewer,
    provider: String,
    text: String,
}

/// The page that says so.
pub(super) fn refuse(mut viewer: Viewer, provider: &SignInProvider, refusal: &Refusal) -> PageResult {
    viewer.can_sign_in = false;
    let page = RefusedPage {
        viewer,
        provider: provider.name.clone(),
        text: refusal.text.to_string(),
    };
    render_with(refusal.status, &page)
}
