//! Who did what. Lines are only ever added; none may hold a secret.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{AFTER_EVERY_ID, Store, StoreError, Tx, from_json, known, on, to_json};
use crate::domain::{
    audit::{Action, By},
    ids::AuditId,
};

/// Longest name or subject that is kept, in characters: of a failed sign-in it is whatever was typed.
const LONGEST_TEXT: usize = 200;

/// Whoever does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub at: DateTime<Utc>,
    /// A user's name, or what was given for one.
    pub name: String,
    pub by: By,
    /// Empty where it is not known.
    pub address: String,
}

impl Actor {
    /// What is to be written down of a deed. `namespace`: whose owners see it; empty: the whole server. `detail` is shown to
    /// them as it is: no secrets.
    pub fn did(
        &self,
        action: Action,
        subject: impl Into<String>,
        namespace: impl Into<String>,
        detail: Value,
    ) -> AuditEvent {
        AuditEvent {
            actor: self.clone(),
            action,
            subject: subject.into(),
            namespace: namespace.into(),
            detail,
        }
    }
}

/// A deed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    pub actor: Actor,
    pub action: Action,
    /// What it was done to: a name.
    pub subject: String,
    pub namespace: String,
    pub detail: Value,
}

/// A deed, as written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: AuditId,
    pub event: AuditEvent,
}

/// Which entries to list. Everything left out selects all.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub namespace: Option<String>,
    pub actor: Option<String>,
    pub action: Option<Action>,
    pub subject: Option<String>,
    /// Only those older than this one.
    pub before: Option<AuditId>,
    pub limit: u32,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    at: DateTime<Utc>,
    actor: String,
    way: String,
    action: String,
    subject: String,
    namespace: String,
    detail: String,
    address: String,
}

impl TryFrom<Row> for AuditEntry {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let actor = Actor {
            at: row.at,
            name: row.actor,
            by: known("way", &row.way, By::parse)?,
            address: row.address,
        };
        Ok(Self {
            id: row.id.into(),
            event: AuditEvent {
                actor,
                action: known("action", &row.action, Action::parse)?,
                subject: row.subject,
                namespace: row.namespace,
                detail: from_json("detail", &row.detail)?,
            },
        })
    }
}

/// One page of those entries that the first condition selects, which has an index. `$1`: namespace, `$2`: actor, `$3`:
/// action, `$4`: subject, `$5`: where the page before ended, `$6`: the page's size.
macro_rules! select_page {
    ($selection:literal) => {
        concat!(
            "select id, at, actor, way, action, subject, namespace, detail, address from audit_log where ",
            $selection,
            " and ($1 is null or namespace = $1) and ($2 is null or actor = $2) and ($3 is null or action = $3) \
             and ($4 is null or subject = $4) and id < $5 order by id desc limit $6"
        )
    };
}

pub(super) const PAGE: &str = select_page!("true");
pub(super) const PAGE_OF_NAMESPACE: &str = select_page!("namespace = $1");
pub(super) const PAGE_OF_ACTOR: &str = select_page!("actor = $2");

impl Store {
    /// Writes down what was done.
    pub async fn record_audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        record(&mut tx, event).await?;
        tx.commit().await
    }

    /// What was done, newest first.
    pub async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = match (&filter.namespace, &filter.actor) {
            (Some(_), _) => PAGE_OF_NAMESPACE,
            (None, Some(_)) => PAGE_OF_ACTOR,
            (None, None) => PAGE,
        };
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(sql)
                .bind(filter.namespace.as_deref())
                .bind(filter.actor.as_deref())
                .bind(filter.action.map(Action::as_str))
                .bind(filter.subject.as_deref())
                .bind(filter.before.as_ref().map_or(AFTER_EVERY_ID, AuditId::as_str))
                .bind(i64::from(filter.limit))
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(AuditEntry::try_from).collect()
    }
}

/// Writes down what a transaction does, so that one does not happen without the other.
pub(super) async fn record(tx: &mut Tx, event: &AuditEvent) -> Result<(), StoreError> {
    let detail = to_json(&event.detail)?;
    let short = |text: &str| -> String {
        // PostgreSQL takes no NUL in a text.
        text.chars().filter(|c| *c != '\0').take(LONGEST_TEXT).collect()
    };
    on!(tx.handle(), c => {
        sqlx::query(
            "insert into audit_log (id, at, actor, way, action, subject, namespace, detail, address) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(AuditId::new().as_str())
        .bind(event.actor.at)
        .bind(short(&event.actor.name))
        .bind(event.actor.by.as_str())
        .bind(event.action.as_str())
        .bind(short(&event.subject))
        .bind(&event.namespace)
        .bind(&detail)
        .bind(&event.actor.address)
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(())
}
