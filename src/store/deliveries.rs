//! Reading the ledger.

use chrono::{DateTime, Utc};

use super::{AFTER_EVERY_ID, Store, StoreError, from_json, intake, on};
use crate::domain::{
    delivery::Outcome,
    ids::{BuildId, DeliveryId, RepositoryId},
};

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub repository_id: RepositoryId,
    pub provider: String,
    pub event: String,
    pub delivery_id: Option<String>,
    pub received_at: DateTime<Utc>,
    pub source_name: Option<String>,
    pub commit: Option<String>,
    pub outcome: Outcome,
    pub reason: String,
    pub builds: Vec<BuildId>,
}

/// Which deliveries to list. Everything left out selects all.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub outcome: Option<Outcome>,
    /// Only those older than this one.
    pub before: Option<DeliveryId>,
    /// Only those newer than this one, and of them the oldest; `before` then counts for nothing.
    pub after: Option<DeliveryId>,
    pub limit: u32,
}

/// What a webhook brought, to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryBody {
    pub content_type: Option<String>,
    /// Compressed (zstd).
    pub body: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    repository_id: String,
    provider: String,
    event: String,
    delivery_id: Option<String>,
    received_at: DateTime<Utc>,
    source_name: Option<String>,
    commit_sha: Option<String>,
    outcome: String,
    reason: String,
    builds: String,
}

impl TryFrom<Row> for Delivery {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            repository_id: row.repository_id.into(),
            provider: row.provider,
            event: row.event,
            delivery_id: row.delivery_id,
            received_at: row.received_at,
            source_name: row.source_name,
            commit: row.commit_sha,
            outcome: intake::outcome(&row.outcome)?,
            reason: row.reason,
            builds: from_json("builds", &row.builds)?,
        })
    }
}

/// `$1`: repository, `$2`: where the page begins, `$3`: its size, `$4`: outcome. One bound alone: with two, SQLite takes any
/// index for as good as the one that has all columns.
macro_rules! select_page {
    ($selection:literal, $rest:literal) => {
        concat!(
            "select id, repository_id, provider, event, delivery_id, received_at, source_name, commit_sha, outcome, reason, \
             builds from deliveries where repository_id = $1 and ",
            $selection,
            $rest,
            " limit $3"
        )
    };
}

pub(super) const NEWEST: &str = select_page!("", "id < $2 order by id desc");
const NEXT_NEWER: &str = select_page!("", "id > $2 order by id asc");
pub(super) const NEWEST_OF_OUTCOME: &str = select_page!("outcome = $4 and ", "id < $2 order by id desc");
const NEXT_NEWER_OF_OUTCOME: &str = select_page!("outcome = $4 and ", "id > $2 order by id asc");

impl Store {
    /// A repository's deliveries, newest first.
    pub async fn deliveries(
        &self,
        repository: &RepositoryId,
        filter: &DeliveryFilter,
    ) -> Result<Vec<Delivery>, StoreError> {
        let sql = match (filter.outcome, &filter.after) {
            (None, None) => NEWEST,
            (None, Some(_)) => NEXT_NEWER,
            (Some(_), None) => NEWEST_OF_OUTCOME,
            (Some(_), Some(_)) => NEXT_NEWER_OF_OUTCOME,
        };
        let begin = filter.after.as_ref().or(filter.before.as_ref());
        let begin = begin.map_or(AFTER_EVERY_ID, DeliveryId::as_str);
        let mut reader = self.reader().await?;
        let mut rows = on!(reader.handle(), c => {
            let query = sqlx::query_as::<_, Row>(sql)
                .bind(repository.as_str())
                .bind(begin)
                .bind(i64::from(filter.limit));
            match filter.outcome {
                Some(outcome) => query.bind(outcome.as_str()).fetch_all(c).await,
                None => query.fetch_all(c).await,
            }
        })?;
        if filter.after.is_some() {
            rows.reverse();
        }
        rows.into_iter().map(Delivery::try_from).collect()
    }

    /// One delivery of a repository, with its body where that was kept.
    pub async fn delivery(
        &self,
        repository: &RepositoryId,
        id: &DeliveryId,
    ) -> Result<Option<(Delivery, Option<DeliveryBody>)>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(
                "select id, repository_id, provider, event, delivery_id, received_at, source_name, commit_sha, outcome, reason, \
                 builds from deliveries where repository_id = $1 and id = $2",
            )
            .bind(repository.as_str())
            .bind(id.as_str())
            .fetch_optional(c)
            .await
        })?;
        let Some(row) = row else { return Ok(None) };
        let body: Option<(Option<String>, Vec<u8>)> = on!(reader.handle(), c => {
            sqlx::query_as(
                "select d.content_type, b.body from delivery_bodies b join deliveries d on d.id = b.delivery_id \
                 where b.delivery_id = $1",
            )
            .bind(id.as_str())
            .fetch_optional(c)
            .await
        })?;
        let body = body.map(|(content_type, body)| DeliveryBody { content_type, body });
        Ok(Some((Delivery::try_from(row)?, body)))
    }
}
