//! Signing in through the OpenID Connect provider, there and back. Whoever comes back is known by issuer and subject alone: an
//! e-mail address proves nothing, and links nobody to anybody.
//!
//! What must be remembered in between is in a sealed cookie of the browser that began, for minutes.

use axum::{
    Router,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use axum_extra::extract::CookieJar;
use serde_json::json;

use super::{
    attempt_cookie::{self, Begun},
    page::{PageResult, local_path, see_other},
    provider_refusal::{Refusal, refuse},
    settings::confirm_link,
    viewer::Viewer,
};
use crate::{
    domain::{access::Access, audit::Action, ids::UserId},
    oidc::{Answer, Identity},
    store::{PersonChange, SignedUp, Subject, User},
    web::{
        Web,
        audit::Origin,
        parameters::{FromParameters, Parameters, Query},
        problem::{FieldError, Problem},
        provider::SignInProvider,
        session,
        suggested_name::suggested_names,
        visitor::Visitor,
    },
};

const CALLBACK: &str = "/sign-in/oidc/callback";

/// Longest query that a provider sends a browser back with, in bytes.
const LONGEST_QUERY: usize = 8 << 10;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(attempt_cookie::PATH, get(begin))
        .route(CALLBACK, get(come_back))
}

/// Where to go afterwards, and whether to link rather than to sign in.
struct Purpose {
    next: String,
    link: bool,
}

impl FromParameters for Purpose {
    const NAMES: &'static [&'static str] = &["next", "link"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            next: parameters.take("next")?.unwrap_or_default(),
            link: parameters.take_flag("link")?,
        })
    }
}

async fn begin(State(web): State<Web>, viewer: Viewer, Query(purpose): Query<Purpose>) -> PageResult {
    let provider = provider(&web)?;
    let for_user = match purpose.link {
        true => Some(viewer.user()?.id.clone()),
        false => None,
    };
    match provider.oidc.begin(&callback_url(&web)).await {
        Ok((url, attempt)) => {
            let begun = Begun::new(attempt, local_path(&purpose.next), for_user, web.clock.now());
            Ok((attempt_cookie::set(&web, &begun), see_other(&url)).into_response())
        }
        Err(error) => refuse(viewer, provider, &Refusal::from(error)),
    }
}

/// Whoever was sent back.
struct Comer {
    viewer: Viewer,
    visitor: Visitor,
    origin: Origin,
}

async fn come_back(
    State(web): State<Web>,
    viewer: Viewer,
    visitor: Visitor,
    origin: Origin,
    cookies: CookieJar,
    RawQuery(query): RawQuery,
) -> PageResult {
    let provider = provider(&web)?;
    let comer = Comer {
        viewer,
        visitor,
        origin,
    };
    let result = match attempt_cookie::begun(&web, &cookies) {
        Some(begun) => arrive(&web, provider, begun, &comer, &query.unwrap_or_default()).await,
        None => Err(Refusal::LATE),
    };
    let page = match result {
        Ok(page) => page,
        Err(refusal) => {
            let address = comer.visitor.address_text();
            tracing::info!(why = %refusal.text, address, "a sign-in through the provider was refused");
            refuse(comer.viewer, provider, &refusal)?
        }
    };
    // However it went, this attempt is over.
    Ok((attempt_cookie::forget(&web), page).into_response())
}

async fn arrive(
    web: &Web,
    provider: &SignInProvider,
    begun: Begun,
    comer: &Comer,
    query: &str,
) -> Result<Response, Refusal> {
    let said = Said::read(query).ok_or(Refusal::MALFORMED)?;
    if !said
        .state
        .as_deref()
        .is_some_and(|state| begun.attempt.has_state(state))
    {
        return Err(Refusal::LATE);
    }
    if let Some(error) = said.error {
        return Err(Refusal::by_provider(&error, said.error_description.as_deref()));
    }
    let answer = Answer {
        code: said.code.as_deref().ok_or(Refusal::MALFORMED)?,
        issuer: said.iss.as_deref(),
    };
    let identity = provider
        .oidc
        .complete(begun.attempt, &callback_url(web), answer, web.clock.now())
        .await?;
    match begun.for_user {
        // Asked before it is linked: another site can send a browser here, and to a provider where it is signed in as
        // somebody else.
        Some(user) => match comer.viewer.user() {
            Ok(now) if now.id == user => Ok(confirm_link(web, provider, &identity, comer.viewer.clone())?),
            _ => Err(Refusal::CHANGED),
        },
        None => sign_in(web, provider, &identity, &begun.next, comer).await,
    }
}

async fn sign_in(
    web: &Web,
    provider: &SignInProvider,
    identity: &Identity,
    next: &str,
    comer: &Comer,
) -> Result<Response, Refusal> {
    let known = web.store.use_identity(subject(identity), web.clock.now()).await?;
    let user = match known {
        Some(user) => user,
        None if provider.allow_sign_up => sign_up(web, provider, identity, comer).await?,
        None => return Err(Refusal::unknown(provider)),
    };
    let actor = comer.origin.actor(&user.name);
    if let Some(is_admin) = provider.makes_admin(identity)
        && web.store.set_administrator(&user.name, is_admin).await? == PersonChange::Done
    {
        web.signals.access_changed();
        let detail = json!({"is_admin": is_admin, "through": provider.name});
        web.note(actor.did(Action::UserChanged, &user.name, "", detail)).await;
    }
    let cookie = session::begin(web, &user.id, comer.viewer.session.as_ref(), &comer.visitor).await?;
    let detail = json!({"through": provider.name});
    web.note(actor.did(Action::SignedIn, &user.name, "", detail)).await;
    let address = comer.visitor.address_text();
    tracing::info!(user = user.name, address, through = provider.name, "signed in");
    Ok((cookie, see_other(next)).into_response())
}

/// Makes a user of the name that the provider suggests, or of one like it that is free.
async fn sign_up(web: &Web, provider: &SignInProvider, identity: &Identity, comer: &Comer) -> Result<User, Refusal> {
    for name in suggested_names(identity) {
        let user = User {
            id: UserId::new(),
            name,
            is_admin: false,
            created_at: web.clock.now(),
            access: Access::default(),
        };
        let full_name = identity.full_name.as_deref().unwrap_or_default();
        match web.store.sign_up(&user, full_name, subject(identity)).await? {
            SignedUp::Done => {
                let detail = json!({"through": provider.name, "issuer": identity.issuer, "subject": identity.subject});
                let actor = comer.origin.actor(&user.name);
                web.note(actor.did(Action::UserCreated, &user.name, "", detail)).await;
                return Ok(user);
            }
            SignedUp::NameTaken => {}
            // The same person in another tab, a moment ago; or one who is shut out.
            SignedUp::IdentityTaken => {
                let owner = web.store.use_identity(subject(identity), web.clock.now()).await?;
                return owner.ok_or(Refusal::SHUT_OUT);
            }
        }
    }
    Err(Refusal::NO_NAME)
}

fn subject(identity: &Identity) -> Subject<'_> {
    Subject {
        issuer: &identity.issuer,
        subject: &identity.subject,
        email: identity.email.as_deref().unwrap_or_default(),
    }
}

fn provider(web: &Web) -> Result<&SignInProvider, Problem> {
    web.provider.as_ref().ok_or_else(|| Problem::not_found("page"))
}

fn callback_url(web: &Web) -> String {
    format!("{}{CALLBACK}", web.settings.base_url)
}

/// What a browser comes back with. Providers send more than that; it says nothing to us.
#[derive(Default)]
struct Said {
    state: Option<String>,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Said {
    /// `None` where something is said twice, or too much is.
    fn read(query: &str) -> Option<Self> {
        if query.len() > LONGEST_QUERY {
            return None;
        }
        let mut said = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut said.state,
                "code" => &mut said.code,
                "iss" => &mut said.iss,
                "error" => &mut said.error,
                "error_description" => &mut said.error_description,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_beside_the_protocol_is_no_harm_and_what_it_says_twice_is_not_taken() {
        let said = Said::read("code=c&state=s&session_state=x&iss=https%3A%2F%2Fid&hd=example.com").unwrap();
        assert_eq!((said.code.as_deref(), said.state.as_deref()), (Some("c"), Some("s")));
        assert_eq!(said.iss.as_deref(), Some("https://id"));
        assert!(Said::read("code=c&code=d").is_none() && Said::read("state=s&state=s").is_none());
        assert!(Said::read(&format!("code={}", "c".repeat(LONGEST_QUERY))).is_none());
    }
}
