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
    /// Only those newer than this one, and of them the oldest.
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

/// `$1`: repository, `$2` and `$3`: newer and older than these, `$4`: the page's size, `$5`: outcome.
macro_rules! select_page {
    ($selection:literal, $order:literal) => {
        concat!(
            "select id, repository_id, provider, event, delivery_id, received_at, source_name, commit_sha, outcome, reason, \
             builds from deliveries where repository_id = $1 and ",
            $selection,
            "id > $2 and id < $3 order by id ",
            $order,
            " limit $4"
        )
    };
}

pub(super) const NEWEST: &str = select_page!("", "desc");
const NEXT_NEWER: &str = select_page!("", "asc");
pub(super) const NEWEST_OF_OUTCOME: &str = select_page!("outcome = $5 and ", "desc");
const NEXT_NEWER_OF_OUTCOME: &str = select_page!("outcome = $5 and ", "asc");

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
        let mut reader = self.reader().await?;
        let mut rows = on!(reader.handle(), c => {
            let query = sqlx::query_as::<_, Row>(sql)
                .bind(repository.as_str())
                .bind(filter.after.as_ref().map_or("", DeliveryId::as_str))
                .bind(filter.before.as_ref().map_or(AFTER_EVERY_ID, DeliveryId::as_str))
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
