//! By which other services one may sign in: linking them and taking that back. Nobody can take away their last way in.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        ids::{IdentityId, UserId},
    },
    oidc::Identity,
    secrets,
    store::{Linked, StoredIdentity, Subject, Unlinked},
    web::{
        Web,
        audit::Origin,
        pages::{
            form::Submitted,
            notice::Notice,
            page::{PageResult, done, render, render_with},
            viewer::Viewer,
            words::When,
        },
        parameters::Query,
        problem::Problem,
        provider::SignInProvider,
    },
};

const PATH: &str = "/settings/applications";

/// How long somebody may think about linking.
const HOLDS: TimeDelta = TimeDelta::minutes(10);

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(PATH, get(show))
        .route("/settings/applications/link", post(link))
        .route("/settings/applications/unlink", post(unlink))
}

#[derive(Template)]
#[template(path = "settings/applications.html")]
struct ApplicationsPage {
    viewer: Viewer,
    /// What people call the provider that is set up.
    provider: Option<String>,
    has_password: bool,
    identities: Vec<Row>,
    /// Whether the last way in would be gone with the only identity.
    is_last_way_in: bool,
}

struct Row {
    id: String,
    service: String,
    whom: String,
    linked: When,
    used: When,
}

impl Row {
    fn new(identity: StoredIdentity, provider: Option<&SignInProvider>, now: DateTime<Utc>) -> Self {
        let service = provider
            .filter(|provider| provider.oidc.issuer() == identity.issuer)
            .map_or(identity.issuer, |provider| provider.name.clone());
        Self {
            id: identity.id.to_string(),
            service,
            whom: whom(&identity.email, &identity.subject),
            linked: When::new(identity.linked_at, now),
            used: When::new(identity.last_used_at, now),
        }
    }
}

/// How somebody at a provider is told from others: their address, or what the provider calls them by.
fn whom(email: &str, subject: &str) -> String {
    match email {
        "" => subject.to_owned(),
        email => email.to_owned(),
    }
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(()): Query<()>) -> PageResult {
    render(&page(&web, viewer).await?)
}

async fn page(web: &Web, viewer: Viewer) -> Result<ApplicationsPage, Problem> {
    let user = &viewer.user()?.id;
    let provider = web.provider.as_ref();
    let identities = web.store.identities_of(user).await?;
    let has_password = web.store.has_password(user).await?;
    Ok(ApplicationsPage {
        provider: provider.map(|provider| provider.name.clone()),
        has_password,
        is_last_way_in: !has_password && identities.len() == 1,
        identities: identities
            .into_iter()
            .map(|identity| Row::new(identity, provider, viewer.now))
            .collect(),
        viewer,
    })
}

/// An identity whose owner was not asked yet whether it is to be linked.
#[derive(Serialize, Deserialize)]
struct Waiting {
    issuer: String,
    subject: String,
    email: String,
    until: DateTime<Utc>,
}

impl Waiting {
    fn seal(&self, web: &Web, user: &UserId) -> String {
        let purpose = secrets::identity_to_link(user.as_str());
        BASE64_URL_SAFE_NO_PAD.encode(web.vault.seal(&purpose, &json!(self).to_string()))
    }

    fn open(web: &Web, user: &UserId, sealed: &str) -> Option<Self> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let text = web
            .vault
            .open(&secrets::identity_to_link(user.as_str()), &sealed)
            .ok()?;
        let waiting: Self = serde_json::from_str(text.expose_secret()).ok()?;
        (waiting.until > web.clock.now()).then_some(waiting)
    }
}

#[derive(Template)]
#[template(path = "settings/link_identity.html")]
struct LinkPage {
    viewer: Viewer,
    provider: String,
    whom: String,
    sealed: String,
}

/// Asks whether an identity is to be linked.
pub fn confirm_link(web: &Web, provider: &SignInProvider, identity: &Identity, viewer: Viewer) -> PageResult {
    let waiting = Waiting {
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        email: identity.email.clone().unwrap_or_default(),
        until: web.clock.now() + HOLDS,
    };
    render(&LinkPage {
        provider: provider.name.clone(),
        whom: whom(&waiting.email, &waiting.subject),
        sealed: waiting.seal(web, &viewer.user()?.id),
        viewer,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkForm {
    identity: String,
}

async fn link(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<LinkForm>,
) -> PageResult {
    let user = viewer.user()?;
    let Some(waiting) = Waiting::open(&web, &user.id, &form.identity) else {
        return Ok(done(
            PATH,
            &Notice::bad("That took too long, or was begun by somebody else. Link it again."),
        ));
    };
    let subject = Subject {
        issuer: &waiting.issuer,
        subject: &waiting.subject,
        email: &waiting.email,
    };
    let notice = match web.store.link_identity(&user.id, subject, web.clock.now()).await? {
        Linked::Done => {
            let detail = json!({"issuer": waiting.issuer, "subject": waiting.subject});
            let actor = origin.actor(&user.name);
            web.note(actor.did(Action::IdentityLinked, &user.name, "", detail))
                .await;
            Notice::good("It was linked: you can sign in by it from now on.")
        }
        Linked::Already => Notice::good("It was linked already."),
        Linked::Taken => Notice::bad("It is linked to another user of this server, and can be linked to one only."),
        Linked::TooMany => Notice::bad("You have as many as you can have. Unlink one first."),
    };
    Ok(done(PATH, &notice))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnlinkForm {
    id: IdentityId,
}

async fn unlink(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<UnlinkForm>,
) -> Result<Response, Problem> {
    let user = viewer.user()?;
    match web.store.unlink_identity(&user.id, &form.id).await? {
        Unlinked::Done(identity) => {
            let detail = json!({"issuer": identity.issuer, "subject": identity.subject});
            let actor = origin.actor(&user.name);
            web.note(actor.did(Action::IdentityUnlinked, &user.name, "", detail))
                .await;
            Ok(done(
                PATH,
                &Notice::good("It was unlinked: nobody signs in as you by it any more."),
            ))
        }
        Unlinked::Missing => Err(Problem::not_found("linked sign-in")),
        Unlinked::LastWayIn => render_with(StatusCode::CONFLICT, &page(&web, viewer).await?),
    }
}
