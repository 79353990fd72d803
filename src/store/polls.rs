//! Looks at sources: when each is due, who is looking, and what the last one saw.
//!
//! A look is claimed by a conditional update for a bounded time, so of several servers one does it, and one that dies does
//! not keep it.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Store, StoreError, Tx, from_json,
    intake::{pieces, placeholders},
    known, on, to_json,
};
use crate::domain::{
    build::CauseKind,
    ids::{RepositoryId, RuleId},
    remote_refs::Seen,
    rule::SourceType,
};

/// Builds of one ref that are held against what a look found; the newest are read.
const MOST_BUILDS: i64 = 1000;

/// Parts that repositories fall into by the last digit of their ids.
const PARTS: i32 = 16;

/// A source that is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePoll {
    pub repository: RepositoryId,
    pub source_url: String,
    /// Looks that failed in a row.
    pub failures: u32,
}

/// The right to look at a source. Only [`Store::claim_poll`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollClaim {
    repository: RepositoryId,
    until: DateTime<Utc>,
}

/// What the last look saw that saw anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSeen {
    pub at: DateTime<Utc>,
    pub seen: Seen,
}

/// What became of a look.
#[derive(Debug, Clone)]
pub struct EndedPoll {
    /// When it began to look; `None`: there was nothing to look for.
    pub at: Option<DateTime<Utc>>,
    pub next_at: DateTime<Utc>,
    /// What it saw, or what went wrong; `None`: it came to no end, and there is nothing to tell of it.
    pub result: Option<Result<Seen, String>>,
}

/// What people see of the looks at a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollState {
    pub last_at: Option<DateTime<Utc>>,
    pub next_at: DateTime<Utc>,
    pub problem: Option<String>,
    pub last_webhook: Option<DateTime<Utc>>,
}

/// A build that a ref has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub rule: RuleId,
    pub cause: CauseKind,
    /// `None`: what the ref points to when it starts, or when it started and failed.
    pub commit: Option<String>,
    pub is_queued: bool,
}

pub(super) const DUE: &str = "select p.repository_id, r.source_url, p.failures from polls p \
     join repositories r on r.id = p.repository_id \
     where p.next_at <= $1 and (p.claimed_until is null or p.claimed_until <= $1) order by p.next_at, p.repository_id limit $2";

pub(super) const LAST_WEBHOOK: &str = "select received_at from deliveries where repository_id = $1 \
     and delivery_id is not null order by id desc limit 1";

pub(super) const OF_REF: &str = "select rule_id, cause_kind, commit_sha, status = 'queued' from builds \
     where repository_id = $1 and source_name = $2 and source_type = $3 and queued_at >= $4 order by id desc limit $5";

impl Store {
    /// The sources that are to be looked at and that nobody is looking at, those that wait longest first.
    pub async fn due_polls(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<DuePoll>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, i64)> = on!(reader.handle(), c => {
            sqlx::query_as(DUE).bind(now).bind(i64::from(limit)).fetch_all(c).await
        })?;
        let due = rows.into_iter().map(|(repository, source_url, failures)| DuePoll {
            repository: repository.into(),
            source_url,
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
        });
        Ok(due.collect())
    }

    /// Takes the right to look at a source until a moment; `None`: somebody else has it, or it is not due any more.
    pub async fn claim_poll(
        &self,
        repository: &RepositoryId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<PollClaim>, StoreError> {
        let mut tx = self.begin().await?;
        let claimed = on!(tx.handle(), c => {
            sqlx::query(
                "update polls set claimed_until = $3 where repository_id = $1 and next_at <= $2 \
                 and (claimed_until is null or claimed_until <= $2)",
            )
            .bind(repository.as_str())
            .bind(now)
            .bind(until)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok((claimed == 1).then(|| PollClaim {
            repository: repository.clone(),
            until,
        }))
    }

    /// Puts off a look that is due.
    pub async fn postpone_poll(
        &self,
        repository: &RepositoryId,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "update polls set next_at = $3 where repository_id = $1 and next_at <= $2 \
                 and (claimed_until is null or claimed_until <= $2)")
                .bind(repository.as_str())
                .bind(now)
                .bind(until)
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }

    /// What the last look saw; `None`: none has seen anything yet.
    pub async fn last_seen(&self, repository: &RepositoryId) -> Result<Option<LastSeen>, StoreError> {
        let mut reader = self.reader().await?;
        let row: Option<(DateTime<Utc>, String, String)> = on!(reader.handle(), c => {
            sqlx::query_as("select seen_at, source, rules from polls where repository_id = $1 and seen_at is not null")
                .bind(repository.as_str())
                .fetch_optional(c)
                .await
        })?;
        let Some((at, source, rules)) = row else {
            return Ok(None);
        };
        let refs: Vec<(String, String)> = on!(reader.handle(), c => {
            sqlx::query_as("select name, commit_sha from seen_refs where repository_id = $1")
                .bind(repository.as_str())
                .fetch_all(c)
                .await
        })?;
        let seen = Seen {
            source,
            rules: from_json("rules", &rules)?,
            refs: refs.into_iter().collect(),
        };
        Ok(Some(LastSeen { at, seen }))
    }

    /// Records what became of a look, and gives the right to it back. `false`: it took too long and is another's by now.
    pub async fn end_poll(&self, claim: &PollClaim, ended: &EndedPoll) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let problem = ended.result.as_ref().and_then(|result| result.as_ref().err());
        let updated = on!(tx.handle(), c => {
            sqlx::query(
                "update polls set claimed_until = null, next_at = $3, last_at = coalesce($4, last_at), \
                 problem = case when $7 then $5 else problem end, \
                 failures = case when $6 then failures + 1 when $7 then 0 else failures end \
                 where repository_id = $1 and claimed_until = $2",
            )
            .bind(claim.repository.as_str())
            .bind(claim.until)
            .bind(ended.next_at)
            .bind(ended.at)
            .bind(problem)
            .bind(problem.is_some())
            .bind(ended.result.is_some())
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        if updated == 0 {
            return Ok(false);
        }
        if let Some(Ok(seen)) = &ended.result {
            write_seen(&mut tx, &claim.repository, seen, ended.at.unwrap_or(ended.next_at)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Has all sources looked at soon, spread over a while, but for those that were looked at just before `recent`: what was
    /// pushed while nobody listened is not to wait for its turn.
    pub async fn bring_polls_forward(
        &self,
        now: DateTime<Utc>,
        over: TimeDelta,
        recent: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for part in 0..PARTS {
            let at = now + over * part / PARTS;
            on!(tx.handle(), c => {
                sqlx::query(
                    "update polls set next_at = $1 where next_at > $1 and repository_id like $2 \
                     and failures = 0 and (last_at is null or last_at <= $3)",
                )
                .bind(at)
                .bind(format!("%{part:x}"))
                .bind(recent)
                .execute(c)
                .await
                .map(drop)
            })?;
        }
        tx.commit().await
    }

    /// Has a source looked at now.
    pub async fn ask_for_poll(&self, repository: &RepositoryId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        make_due(&mut tx, repository, now).await?;
        tx.commit().await
    }

    /// What there is to tell of the looks at a source.
    pub async fn poll_state(&self, repository: &RepositoryId) -> Result<Option<PollState>, StoreError> {
        let last_webhook = self.last_webhook(repository).await?;
        let mut reader = self.reader().await?;
        let row: Option<(Option<DateTime<Utc>>, DateTime<Utc>, Option<String>)> = on!(reader.handle(), c => {
            sqlx::query_as("select last_at, next_at, problem from polls where repository_id = $1")
                .bind(repository.as_str())
                .fetch_optional(c)
                .await
        })?;
        Ok(row.map(|(last_at, next_at, problem)| PollState {
            last_at,
            next_at,
            problem,
            last_webhook,
        }))
    }

    /// When the last webhook came.
    pub async fn last_webhook(&self, repository: &RepositoryId) -> Result<Option<DateTime<Utc>>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => {
            sqlx::query_scalar(LAST_WEBHOOK).bind(repository.as_str()).fetch_optional(c).await
        })?)
    }

    /// The builds that a ref has had since a moment, the newest first.
    pub async fn builds_of_ref(
        &self,
        repository: &RepositoryId,
        source_type: SourceType,
        name: &str,
        since: DateTime<Utc>,
    ) -> Result<Vec<Known>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, Option<String>, bool)> = on!(reader.handle(), c => {
            sqlx::query_as(OF_REF)
                .bind(repository.as_str())
                .bind(name)
                .bind(source_type.as_str())
                .bind(since)
                .bind(MOST_BUILDS)
                .fetch_all(c)
                .await
        })?;
        let builds = rows.into_iter().map(|(rule, cause, commit, is_queued)| {
            Ok(Known {
                rule: rule.into(),
                cause: known("cause", &cause, CauseKind::parse)?,
                commit,
                is_queued,
            })
        });
        builds.collect()
    }
}

/// Has a source looked at from a moment on, in the transaction that makes or changes it.
pub(super) async fn make_due(tx: &mut Tx, repository: &RepositoryId, now: DateTime<Utc>) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query(
            "insert into polls (repository_id, next_at) values ($1, $2) \
             on conflict (repository_id) do update set next_at = case when polls.next_at < $2 then polls.next_at else $2 end",
        )
        .bind(repository.as_str())
        .bind(now)
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(())
}

/// Writes what differs from what was seen before.
async fn write_seen(tx: &mut Tx, repository: &RepositoryId, seen: &Seen, at: DateTime<Utc>) -> Result<(), StoreError> {
    let rules = to_json(&seen.rules)?;
    on!(tx.handle(), c => {
        sqlx::query("update polls set seen_at = $2, source = $3, rules = $4 where repository_id = $1")
            .bind(repository.as_str())
            .bind(at)
            .bind(&seen.source)
            .bind(&rules)
            .execute(c)
            .await
            .map(drop)
    })?;
    let stored: Vec<(String, String)> = on!(tx.handle(), c => {
        sqlx::query_as("select name, commit_sha from seen_refs where repository_id = $1")
            .bind(repository.as_str())
            .fetch_all(c)
            .await
    })?;
    let stored: BTreeMap<&str, &str> = stored
        .iter()
        .map(|(name, commit)| (name.as_str(), commit.as_str()))
        .collect();
    let now: BTreeMap<&str, &str> = seen
        .refs
        .iter()
        .map(|(name, commit)| (name.as_str(), commit.as_str()))
        .collect();
    let gone: Vec<&str> = stored
        .iter()
        .filter(|(name, commit)| now.get(*name) != Some(*commit))
        .map(|(name, _)| *name)
        .collect();
    let new: Vec<(&str, &str)> = now
        .into_iter()
        .filter(|(name, commit)| stored.get(name) != Some(commit))
        .collect();
    for piece in pieces(&gone) {
        let names: Vec<String> = (2..piece.len() + 2).map(|n| format!("${n}")).collect();
        let names = names.join(", ");
        let sql = format!("delete from seen_refs where repository_id = $1 and name in ({names})");
        on!(tx.handle(), c => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(repository.as_str());
            for name in piece {
                query = query.bind(*name);
            }
            query.execute(c).await.map(drop)
        })?;
    }
    for piece in pieces(&new) {
        let values = placeholders(piece.len(), 3, "");
        let sql = format!("insert into seen_refs (repository_id, name, commit_sha) values {values}");
        on!(tx.handle(), c => {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (name, commit) in piece {
                query = query.bind(repository.as_str()).bind(*name).bind(*commit);
            }
            query.execute(c).await.map(drop)
        })?;
    }
    Ok(())
}
