//! Who did what, on the whole server.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use crate::{
    domain::{audit::Action, ids::AuditId},
    store::AuditFilter,
    web::{
        Web,
        api::Page,
        pages::{
            audit_row::AuditRow,
            page::{PageResult, render},
            viewer::Viewer,
        },
        parameters::{FromParameters, Parameters, Query},
        problem::FieldError,
    },
};

const PATH: &str = "/admin/audit";

pub(super) fn routes() -> Router<Web> {
    Router::new().route(PATH, get(show))
}

/// What the list is narrowed to; empty: everything.
struct Narrowed {
    actor: String,
    action: String,
    subject: String,
    page: Page,
}

impl FromParameters for Narrowed {
    const NAMES: &'static [&'static str] = &["actor", "action", "subject", "limit", "cursor"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let action = parameters.take("action")?.unwrap_or_default();
        if !action.is_empty() && Action::parse(&action).is_none() {
            return Err(FieldError::new("action", "there is no such action"));
        }
        Ok(Self {
            actor: parameters.take("actor")?.unwrap_or_default(),
            action,
            subject: parameters.take("subject")?.unwrap_or_default(),
            page: Page::take_from(parameters)?,
        })
    }
}

#[derive(Template)]
#[template(path = "admin/audit.html")]
struct AuditPage {
    viewer: Viewer,
    narrowed: Narrowed,
    actions: Vec<ActionChoice>,
    rows: Vec<AuditRow>,
    next: Option<String>,
}

struct ActionChoice {
    value: &'static str,
    words: &'static str,
    is_chosen: bool,
}

impl AuditPage {
    fn is_later(&self) -> bool {
        self.narrowed.page.cursor.is_some()
    }

    /// The address of the page that begins after `cursor`.
    fn after(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let Narrowed {
            actor, action, subject, ..
        } = &self.narrowed;
        let pairs = [("actor", actor), ("action", action), ("subject", subject)];
        query.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
        if !cursor.is_empty() {
            query.append_pair("cursor", cursor);
        }
        format!("{PATH}?{}", query.finish())
    }
}

async fn show(State(web): State<Web>, viewer: Viewer, Query(narrowed): Query<Narrowed>) -> PageResult {
    viewer.caller.admin()?;
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = AuditFilter {
        namespace: None,
        actor: some(&narrowed.actor),
        action: Action::parse(&narrowed.action),
        subject: some(&narrowed.subject),
        before: narrowed.page.cursor.as_deref().map(AuditId::from),
        limit: narrowed.page.fetch(),
    };
    let fetched = web.store.audit(&filter).await?;
    let list = narrowed.page.cut(
        fetched,
        |entry| entry.id.as_str(),
        |entry| AuditRow::new(&entry.event, viewer.now),
    );
    let choice = |action: &Action| ActionChoice {
        value: action.as_str(),
        words: action.words(),
        is_chosen: narrowed.action == action.as_str(),
    };
    render(&AuditPage {
        actions: Action::ALL.iter().map(choice).collect(),
        rows: list.items,
        next: list.next_cursor,
        viewer,
        narrowed,
    })
}
