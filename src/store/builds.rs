//! Reading builds.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use super::{
    AFTER_EVERY_ID, Reader, Sight, Store, StoreError, from_json,
    intake::{pieces, placeholders},
    known, on,
};
use crate::domain::{
    build::{BaseImage, Before, Cause, CauseKind, ErrorKind, Failure, Phase, Plan, Status, Step},
    ids::{BuildId, RepositoryId, RuleId, WorkerId},
    repository::{RepositoryName, Visibility},
    rule::SourceType,
};

/// A build, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    pub id: BuildId,
    pub number: i64,
    pub repository_id: RepositoryId,
    pub repository: RepositoryName,
    pub visibility: Visibility,
    pub rule_id: RuleId,
    pub status: Status,
    pub phase: Option<Phase>,
    pub cause: Cause,
    pub source_type: SourceType,
    pub source_name: String,
    pub commit: Option<String>,
    pub commit_message: Option<String>,
    pub plan: Plan,
    pub push_order: String,
    pub digest: Option<String>,
    pub base_images: Vec<BaseImage>,
    pub steps: Vec<Step>,
    pub superseded_by: Option<BuildId>,
    pub failure: Option<Failure>,
    pub queued_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub worker_id: Option<WorkerId>,
    pub attempt: i64,
    pub not_before: Option<DateTime<Utc>>,
    pub cancel_requested: bool,
    pub log_size: u64,
    pub log_sealed: bool,
    /// How many builds are to be claimed before this one, plus one; while it is queued.
    pub queue_position: Option<i64>,
    /// What the path filter of its rule compares with; `None`: it builds whatever was changed.
    pub before: Option<Before>,
    /// Why it was skipped, or which changed file made it build.
    pub status_reason: Option<String>,
}

/// Which builds to list. Everything left out selects all.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    pub repository: Option<RepositoryId>,
    pub status: Option<Status>,
    /// The rule's id; the rule itself may be gone.
    pub rule: Option<RuleId>,
    /// The branch or tag, whole.
    pub source_name: Option<String>,
    pub cause: Option<CauseKind>,
    pub sight: Sight,
    /// Only those older than this one.
    pub before: Option<BuildId>,
    /// Only those newer than this one, and of them the oldest; `before` then counts for nothing.
    pub after: Option<BuildId>,
    pub limit: u32,
}

/// What a build is called, and how it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildNumber {
    pub id: BuildId,
    pub number: i64,
    pub status: Status,
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: String,
    number: i64,
    repository_id: String,
    namespace: String,
    name: String,
    visibility: String,
    rule_id: String,
    status: String,
    phase: Option<String>,
    cause: String,
    source_type: String,
    source_name: String,
    commit_sha: Option<String>,
    commit_message: Option<String>,
    plan: String,
    push_order: String,
    digest: Option<String>,
    base_images: String,
    steps: String,
    superseded_by: Option<String>,
    error_kind: Option<String>,
    error_message: Option<String>,
    queued_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    worker_id: Option<String>,
    attempt: i64,
    not_before: Option<DateTime<Utc>>,
    cancel_requested: bool,
    log_size: i64,
    log_sealed: bool,
    before_sha: Option<String>,
    status_reason: Option<String>,
}

/// Selects [`Row`]s; what follows says which.
macro_rules! select_builds {
    ($($rest:literal),+ $(,)?) => {
        concat!(
            "select b.id, b.number, b.repository_id, r.namespace, r.name, r.visibility, b.rule_id, b.status, b.phase, b.cause, \
             b.source_type, b.source_name, b.commit_sha, b.commit_message, b.plan, b.push_order, b.digest, b.base_images, \
             b.steps, b.superseded_by, b.error_kind, b.error_message, b.queued_at, b.started_at, b.finished_at, b.worker_id, \
             b.attempt, b.not_before, b.cancel_requested, b.log_size, b.log_sealed, b.before_sha, b.status_reason \
             from builds b join repositories r on r.id = b.repository_id ",
            $($rest),+
        )
    };
}
pub(super) use select_builds;

impl TryFrom<Row> for Build {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let failure = match row.error_kind {
            Some(kind) => Some(Failure {
                kind: known("error kind", &kind, ErrorKind::parse)?,
                message: row.error_message.unwrap_or_default(),
            }),
            None => None,
        };
        Ok(Self {
            id: row.id.into(),
            number: row.number,
            repository_id: row.repository_id.into(),
            repository: RepositoryName::new(&row.namespace, &row.name)
                .map_err(|error| StoreError::Corrupt(error.to_string()))?,
            visibility: known("visibility", &row.visibility, Visibility::parse)?,
            rule_id: row.rule_id.into(),
            status: known("status", &row.status, Status::parse)?,
            phase: row
                .phase
                .map(|phase| known("phase", &phase, Phase::parse))
                .transpose()?,
            cause: from_json("cause", &row.cause)?,
            source_type: known("source type", &row.source_type, SourceType::parse)?,
            source_name: row.source_name,
            commit: row.commit_sha,
            commit_message: row.commit_message,
            plan: from_json("plan", &row.plan)?,
            push_order: row.push_order,
            digest: row.digest,
            base_images: from_json("base images", &row.base_images)?,
            steps: from_json("steps", &row.steps)?,
            superseded_by: row.superseded_by.map(BuildId::from),
            failure,
            queued_at: row.queued_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            worker_id: row.worker_id.map(WorkerId::from),
            attempt: row.attempt,
            not_before: row.not_before,
            cancel_requested: row.cancel_requested,
            log_size: u64::try_from(row.log_size).map_err(|_| StoreError::Corrupt("a negative log size".to_owned()))?,
            log_sealed: row.log_sealed,
            queue_position: None,
            before: row.before_sha.as_deref().map(Before::parse),
            status_reason: row.status_reason,
        })
    }
}

impl BuildFilter {
    /// The statement that selects a page. Conditions that a parameter could switch off would keep indexes from being used,
    /// so that each selection has a statement of its own. `$1` and `$2`: [`Sight`], `$3`: where the page begins, `$4`: its
    /// size, then one parameter for each condition.
    pub(super) fn sql(&self) -> String {
        let mut sql = select_builds!("where ").to_owned();
        for (index, (column, _)) in self.conditions().enumerate() {
            // Writing to a string cannot fail.
            let _ = write!(sql, "b.{column} = ${} and ", FIRST_CONDITION + index);
        }
        // One bound alone: with two, SQLite takes any index for as good as the one that has all columns.
        let (side, order) = if self.after.is_some() {
            (">", "asc")
        } else {
            ("<", "desc")
        };
        let _ = write!(
            sql,
            "($1 or r.visibility = 'public' \
             or r.namespace in (select namespace from readable_namespaces where user_id = $2)) \
             and b.id {side} $3 order by b.id {order} limit $4"
        );
        sql
    }

    fn begin(&self) -> &str {
        let begin = self.after.as_ref().or(self.before.as_ref());
        begin.map_or(AFTER_EVERY_ID, BuildId::as_str)
    }

    /// Columns, with the value that each must have.
    fn conditions(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("repository_id", self.repository.as_ref().map(RepositoryId::as_str)),
            ("status", self.status.map(Status::as_str)),
            ("rule_id", self.rule.as_ref().map(RuleId::as_str)),
            ("source_name", self.source_name.as_deref()),
            ("cause_kind", self.cause.map(CauseKind::as_str)),
        ]
        .into_iter()
        .filter_map(|(column, value)| Some((column, value?)))
    }
}

/// The first parameter of [`BuildFilter::sql`] that is a condition's.
const FIRST_CONDITION: usize = 5;

pub(super) const COUNT_BY_STATUS: &str = "select status, count(*) from builds group by status";

pub(super) const COUNT_QUEUED_BETWEEN: &str =
    "select count(*) from builds where status = 'queued' and class = $1 and id >= $2 and id < $3";

impl Store {
    pub async fn build(&self, id: &BuildId) -> Result<Option<Build>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(select_builds!("where b.id = $1")).bind(id.as_str()).fetch_optional(c).await
        })?;
        Ok(with_positions(reader, row).await?.pop())
    }

    /// Builds, newest first.
    pub async fn builds(&self, filter: &BuildFilter) -> Result<Vec<Build>, StoreError> {
        let sql = filter.sql();
        let mut reader = self.reader().await?;
        let mut rows = on!(reader.handle(), c => {
            let mut query = sqlx::query_as::<_, Row>(sqlx::AssertSqlSafe(sql))
                .bind(filter.sight.is_everything())
                .bind(filter.sight.user())
                .bind(filter.begin())
                .bind(i64::from(filter.limit));
            for (_, value) in filter.conditions() {
                query = query.bind(value);
            }
            query.fetch_all(c).await
        })?;
        if filter.after.is_some() {
            rows.reverse();
        }
        with_positions(reader, rows).await
    }

    /// The newest build of a repository that has ended or not, if there is any.
    pub async fn last_build(&self, repository: &RepositoryId) -> Result<Option<Build>, StoreError> {
        let mut reader = self.reader().await?;
        let row = on!(reader.handle(), c => {
            sqlx::query_as::<_, Row>(select_builds!("where b.repository_id = $1 order by b.id desc limit 1"))
                .bind(repository.as_str())
                .fetch_optional(c)
                .await
        })?;
        Ok(with_positions(reader, row).await?.pop())
    }

    /// How the builds of these ids are called, in no particular order. Those that are gone are left out.
    pub async fn build_numbers(&self, ids: &[&BuildId]) -> Result<Vec<BuildNumber>, StoreError> {
        let mut found = Vec::new();
        let mut reader = self.reader().await?;
        for piece in pieces(ids) {
            let sql = format!(
                "select id, number, status from builds where id in ({})",
                placeholders(piece.len(), 1, "")
            );
            let rows: Vec<(String, i64, String)> = on!(reader.handle(), c => {
                let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql));
                for id in piece {
                    query = query.bind(id.as_str());
                }
                query.fetch_all(c).await
            })?;
            for (id, number, status) in rows {
                found.push(BuildNumber {
                    id: id.into(),
                    number,
                    status: known("status", &status, Status::parse)?,
                });
            }
        }
        Ok(found)
    }

    /// Which builds of these ids a list may show.
    pub async fn readable_builds(&self, ids: &[&BuildId], sight: &Sight) -> Result<Vec<BuildId>, StoreError> {
        let mut found = Vec::new();
        let mut reader = self.reader().await?;
        for piece in pieces(ids) {
            let sql = format!(
                "select b.id from builds b join repositories r on r.id = b.repository_id where b.id in {} \
                 and (${} or r.visibility = 'public' \
                 or r.namespace in (select namespace from readable_namespaces where user_id = ${}))",
                placeholders(1, piece.len(), ""),
                piece.len() + 1,
                piece.len() + 2
            );
            let rows: Vec<String> = on!(reader.handle(), c => {
                let mut query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
                for id in piece {
                    query = query.bind(id.as_str());
                }
                query.bind(sight.is_everything()).bind(sight.user()).fetch_all(c).await
            })?;
            found.extend(rows.into_iter().map(BuildId::from));
        }
        Ok(found)
    }

    /// When the newest builds that succeeded started and finished, newest first.
    pub async fn latest_spans(&self, limit: u32) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => {
            sqlx::query_as(
                "select started_at, finished_at from builds where status = 'succeeded' and started_at is not null \
                 and finished_at is not null order by id desc limit $1",
            )
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?)
    }

    /// How many builds are in each state.
    pub async fn count_builds(&self) -> Result<Vec<(Status, i64)>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, i64)> = on!(reader.handle(), c => sqlx::query_as(COUNT_BY_STATUS).fetch_all(c).await)?;
        rows.into_iter()
            .map(|(status, count)| Ok((known("status", &status, Status::parse)?, count)))
            .collect()
    }
}

/// Builds of rows that come newest first, with the places in the queue of those that wait.
///
/// Those that somebody asked for come before those that follow by themselves. Each place is counted from the next older
/// one's on: together that is one walk along the index for each of the two, however many they are.
async fn with_positions(mut reader: Reader, rows: impl IntoIterator<Item = Row>) -> Result<Vec<Build>, StoreError> {
    let mut builds: Vec<Build> = rows.into_iter().map(Build::try_from).collect::<Result<_, _>>()?;
    let mut before = 0;
    for automatic in [false, true] {
        let waits = |build: &Build| build.status == Status::Queued && build.cause.kind().is_automatic() == automatic;
        if automatic && builds.iter().any(waits) {
            before = count_queued(&mut reader, false, "", AFTER_EVERY_ID).await?;
        }
        let (mut position, mut counted_to) = (before + 1, String::new());
        for build in builds.iter_mut().rev().filter(|build| waits(build)) {
            position += count_queued(&mut reader, automatic, &counted_to, build.id.as_str()).await?;
            build.queue_position = Some(position);
            counted_to = build.id.to_string();
        }
    }
    Ok(builds)
}

/// How many builds of a class wait, from one id on up to another.
async fn count_queued(reader: &mut Reader, automatic: bool, from: &str, to: &str) -> Result<i64, StoreError> {
    Ok(on!(reader.handle(), c => {
        sqlx::query_scalar(COUNT_QUEUED_BETWEEN).bind(i64::from(automatic)).bind(from).bind(to).fetch_one(c).await
    })?)
}
