//! How the last builds of a repository went, without all that else is known of them: for charts and badges.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, from_json, known, on, repositories::repository_name};
use crate::domain::{
    build::{Plan, Status},
    ids::{BuildId, RepositoryId, RuleId},
    repository::{RepositoryName, Visibility},
};

/// One build of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastBuild {
    pub id: BuildId,
    pub number: i64,
    pub status: Status,
    pub source_name: String,
    pub queued_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    number: i64,
    status: String,
    source_name: String,
    queued_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for PastBuild {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            number: row.number,
            status: known("status", &row.status, Status::parse)?,
            source_name: row.source_name,
            queued_at: row.queued_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

pub(super) const HISTORY: &str = "select id, number, status, source_name, queued_at, started_at, finished_at from builds \
     where repository_id = $1 order by id desc limit $2";

/// Canceled and superseded builds do not say how a repository is doing.
const TELLING: &str = "select status, rule_id, plan from builds where repository_id = $1 \
     and status in ('running', 'succeeded', 'failed') order by id desc limit $2";

/// How far back a build of one rule or tag is looked for.
const LOOK_BACK: i64 = 200;

/// Whose state is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusOf {
    Repository,
    Rule(RuleId),
    /// A bare Docker tag.
    Tag(String),
}

/// A build of one of several namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentBuild {
    pub id: BuildId,
    pub number: i64,
    pub repository: RepositoryName,
    pub visibility: Visibility,
    pub source_name: String,
    /// When it ended, began, or was queued: the last of these that has happened.
    pub at: DateTime<Utc>,
}

/// How many builds of a state are looked through for those of some namespaces.
const RECENT: i64 = 500;

#[derive(sqlx::FromRow)]
struct RecentRow {
    id: String,
    number: i64,
    namespace: String,
    name: String,
    visibility: String,
    source_name: String,
    at: DateTime<Utc>,
}

impl TryFrom<RecentRow> for RecentBuild {
    type Error = StoreError;

    fn try_from(row: RecentRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            number: row.number,
            repository: repository_name(&row.namespace, &row.name)?,
            visibility: known("visibility", &row.visibility, Visibility::parse)?,
            source_name: row.source_name,
            at: row.at,
        })
    }
}

impl Store {
    /// The newest builds in a state of some namespaces, newest first, among the last of the whole server.
    pub async fn recent_builds(
        &self,
        namespaces: &[String],
        status: Status,
        limit: u32,
    ) -> Result<Vec<RecentBuild>, StoreError> {
        if namespaces.is_empty() {
            return Ok(vec![]);
        }
        let names: Vec<String> = (4..namespaces.len() + 4).map(|number| format!("${number}")).collect();
        let sql = format!(
            "select b.id, b.number, f.namespace, f.name, f.visibility, b.source_name, \
             coalesce(b.finished_at, b.started_at, b.queued_at) as at \
             from (select l.id, r.namespace, r.name, r.visibility \
             from (select id, repository_id from builds where status = $1 order by id desc limit $2) l \
             join repositories r on r.id = l.repository_id where r.namespace in ({}) order by l.id desc limit $3) f \
             join builds b on b.id = f.id order by b.id desc",
            names.join(", ")
        );
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            let mut query = sqlx::query_as::<_, RecentRow>(sqlx::AssertSqlSafe(sql))
                .bind(status.as_str())
                .bind(RECENT)
                .bind(i64::from(limit));
            for namespace in namespaces {
                query = query.bind(namespace);
            }
            query.fetch_all(c).await
        })?;
        rows.into_iter().map(RecentBuild::try_from).collect()
    }

    /// The newest builds of a repository, newest first.
    pub async fn build_history(&self, repository: &RepositoryId, limit: u32) -> Result<Vec<PastBuild>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(HISTORY)
                .bind(repository.as_str())
                .bind(i64::from(limit))
                .fetch_all(c)
                .await
        })?;
        rows.into_iter().map(PastBuild::try_from).collect()
    }

    /// How the newest build that ran went, or that it runs.
    pub async fn last_telling_status(
        &self,
        repository: &RepositoryId,
        of: &StatusOf,
    ) -> Result<Option<Status>, StoreError> {
        let limit = if *of == StatusOf::Repository { 1 } else { LOOK_BACK };
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, String)> = on!(reader.handle(), c => {
            sqlx::query_as(TELLING).bind(repository.as_str()).bind(limit).fetch_all(c).await
        })?;
        for (status, rule, plan) in rows {
            let is_meant = match of {
                StatusOf::Repository => true,
                StatusOf::Rule(wanted) => rule == wanted.as_str(),
                StatusOf::Tag(tag) => from_json::<Plan>("plan", &plan)?.tags.contains(tag),
            };
            if is_meant {
                return Ok(Some(known("status", &status, Status::parse)?));
            }
        }
        Ok(None)
    }
}
