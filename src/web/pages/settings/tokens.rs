//! API tokens: made here, shown once, and revoked.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::check_line;
use crate::{
    domain::{access::Scope, audit::Action, ids::TokenId},
    store::{NewToken, StoredToken},
    tokens,
    web::{
        Web,
        api::Page,
        audit::Origin,
        pages::{
            form::{FormErrors, Submitted},
            notice::Notice,
            page::{PageResult, done, render_with},
            viewer::Viewer,
            words::When,
        },
        parameters::Query,
        problem::{FieldError, Problem},
    },
};

const PATH: &str = "/settings/tokens";

/// Longest label, in characters.
const LONGEST_LABEL: usize = 100;

/// How long a token is good for: value, words, days (`None`: without end).
const EXPIRIES: [(&str, &str, Option<i64>); 5] = [
    ("7d", "7 days", Some(7)),
    ("30d", "30 days", Some(30)),
    ("90d", "90 days", Some(90)),
    ("1y", "1 year", Some(365)),
    ("never", "Without end", None),
];

const USUAL_EXPIRY: &str = "90d";

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route(PATH, get(show).post(create))
        .route("/settings/tokens/revoke", post(revoke))
}

#[derive(Template)]
#[template(path = "settings/tokens.html")]
struct TokensPage {
    viewer: Viewer,
    errors: FormErrors,
    /// The token that was just made; shown this once.
    fresh: Option<String>,
    filled_label: String,
    scopes: Vec<Choice>,
    expiries: Vec<Choice>,
    tokens: Vec<Row>,
    next: Option<String>,
}

struct Choice {
    value: &'static str,
    words: &'static str,
    is_chosen: bool,
}

struct Row {
    id: String,
    label: String,
    scope: &'static str,
    created: When,
    expires: Option<When>,
    is_expired: bool,
    used: Option<When>,
}

impl Row {
    fn new(token: StoredToken, now: DateTime<Utc>) -> Self {
        Self {
            id: token.id.to_string(),
            label: match token.label.is_empty() {
                true => "without a name".to_owned(),
                false => token.label,
            },
            scope: token.scope.as_str(),
            created: When::new(token.created_at, now),
            is_expired: token.expires_at.is_some_and(|end| end <= now),
            expires: token.expires_at.map(|end| When::new(end, now)),
            used: token.last_used_at.map(|used| When::new(used, now)),
        }
    }
}

/// What was filled in, or is to begin with.
struct Filled {
    label: String,
    scope: Scope,
    expires: String,
}

impl Default for Filled {
    fn default() -> Self {
        Self {
            label: String::new(),
            scope: Scope::Write,
            expires: USUAL_EXPIRY.to_owned(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenForm {
    label: String,
    scope: Scope,
    expires: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeForm {
    id: String,
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(page): Query<Page>) -> PageResult {
    render(
        &web,
        StatusCode::OK,
        viewer,
        &page,
        Filled::default(),
        FormErrors::default(),
        None,
    )
    .await
}

async fn render(
    web: &Web,
    status: StatusCode,
    viewer: Viewer,
    page: &Page,
    filled: Filled,
    errors: FormErrors,
    fresh: Option<String>,
) -> PageResult {
    let after = page.cursor.as_deref().map(TokenId::from);
    let fetched = web
        .store
        .tokens_of(&viewer.user()?.id, after.as_ref(), page.fetch())
        .await?;
    let list = page.cut(fetched, |token| token.id.as_str(), |token| Row::new(token, viewer.now));
    let scopes = Scope::ALL.map(|scope| Choice {
        value: scope.as_str(),
        words: explanation(scope),
        is_chosen: scope == filled.scope,
    });
    let expiries = EXPIRIES.map(|(value, words, _)| Choice {
        value,
        words,
        is_chosen: value == filled.expires,
    });
    let page = TokensPage {
        viewer,
        errors,
        fresh,
        filled_label: filled.label,
        scopes: scopes.into(),
        expiries: expiries.into(),
        tokens: list.items,
        next: list.next_cursor,
    };
    render_with(status, &page)
}

fn explanation(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "sees what you see",
        Scope::Write => "also starts, cancels and retries builds",
        Scope::Admin => "does everything that you may do",
    }
}

async fn create(
    State(web): State<Web>,
    origin: Origin,
    Query(page): Query<Page>,
    Submitted { viewer, form }: Submitted<TokenForm>,
) -> PageResult {
    let filled = Filled {
        label: form.label.trim().to_owned(),
        scope: form.scope,
        expires: form.expires,
    };
    let days = EXPIRIES
        .iter()
        .find(|(value, ..)| *value == filled.expires)
        .map(|(.., days)| *days);
    let errors = check(&filled.label, days.is_some());
    let Some(days) = days.filter(|_| errors.is_empty()) else {
        let errors = FormErrors::new(errors);
        return render(
            &web,
            StatusCode::UNPROCESSABLE_ENTITY,
            viewer,
            &page,
            filled,
            errors,
            None,
        )
        .await;
    };
    let token = tokens::new_token();
    let hash = tokens::token_hash(token.expose_secret());
    let new = NewToken {
        id: TokenId::new(),
        user: &viewer.user()?.id,
        label: &filled.label,
        hash: hash.as_bytes(),
        scope: filled.scope,
        created_at: viewer.now,
        expires_at: days.map(|days| viewer.now + TimeDelta::days(days)),
    };
    web.store.add_token(&new).await?;
    let detail = json!({ "scope": filled.scope, "expires_at": new.expires_at });
    web.note(
        origin
            .actor(&viewer.user()?.name)
            .did(Action::TokenCreated, &filled.label, "", detail),
    )
    .await;
    let fresh = Some(token.expose_secret().to_owned());
    render(
        &web,
        StatusCode::OK,
        viewer,
        &page,
        Filled::default(),
        FormErrors::default(),
        fresh,
    )
    .await
}

fn check(label: &str, is_known_expiry: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if label.is_empty() {
        errors.push(FieldError::new(
            "label",
            "say what the token is for, so that you know it again",
        ));
    } else if let Err(message) = check_line(label, LONGEST_LABEL) {
        errors.push(FieldError::new("label", message));
    }
    if !is_known_expiry {
        errors.push(FieldError::new("expires", "it is one of the choices"));
    }
    errors
}

async fn revoke(
    State(web): State<Web>,
    origin: Origin,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<RevokeForm>,
) -> PageResult {
    let revoked = web
        .store
        .revoke_token(&viewer.user()?.id, &TokenId::from(form.id))
        .await?;
    let Some(label) = revoked else {
        return Err(Problem::not_found("token"));
    };
    web.signals.access_changed();
    web.note(
        origin
            .actor(&viewer.user()?.name)
            .did(Action::TokenRevoked, &label, "", json!({})),
    )
    .await;
    Ok(done(PATH, &Notice::good(format!("The token “{label}” was revoked."))))
}
