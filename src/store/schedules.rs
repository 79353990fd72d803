//! When rules with a schedule are due. The time is kept with the rule, so that it is known what was missed, and a start
//! takes it in the transaction that queues its builds: of several servers one starts them, and a crash loses none.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Tx, from_json, known, on};
use crate::domain::{
    ids::{RepositoryId, RuleId},
    rule::{Rule, SourceType},
    schedule::Schedule,
};

/// A rule whose schedule is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRule {
    pub repository: RepositoryId,
    pub rule: RuleId,
    /// Since when.
    pub at: DateTime<Utc>,
}

/// What a delivery takes that starts what a schedule is due for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenTime {
    pub rule: RuleId,
    pub at: DateTime<Utc>,
    /// When the rule is due after this; `None`: never.
    pub next: Option<DateTime<Utc>>,
}

/// A rule with a schedule, and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledRule {
    pub rule: RuleId,
    pub schedule: Schedule,
    pub next_at: Option<DateTime<Utc>>,
}

/// A branch or git tag of which a build of a rule still holds tags of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRef {
    pub source_type: SourceType,
    pub source_name: String,
    /// Of the build that holds tags of it and has the newest place in the order of pushes, as what follows.
    pub push_order: String,
    pub commit: Option<String>,
    pub commit_message: Option<String>,
    /// Those that it holds, the last pushed first.
    pub tags: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct HeldTagRow {
    tag: String,
    push_order: String,
    source_type: String,
    source_name: String,
    commit_sha: Option<String>,
    commit_message: Option<String>,
}

pub(super) const DUE: &str = "select repository_id, id, schedule_next_at from rules where schedule_next_at <= $1 \
     order by schedule_next_at, id limit $2";

pub(super) const NEXT: &str = "select min(schedule_next_at) from rules where schedule_next_at is not null";

const HELD_TAGS: &str = "select t.tag, b.push_order, b.source_type, b.source_name, b.commit_sha, b.commit_message \
     from published_tags t join builds b on b.id = t.newest_build \
     where t.repository_id = $1 and t.image = $2 and b.rule_id = $3 \
     order by t.pushed_at desc, t.image desc, t.tag desc limit $4";

impl Store {
    /// The rules that are due, those that are so the longest first.
    pub async fn due_rules(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<DueRule>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, DateTime<Utc>)> = on!(reader.handle(), c => {
            sqlx::query_as(DUE).bind(now).bind(i64::from(limit)).fetch_all(c).await
        })?;
        let due = rows.into_iter().map(|(repository, rule, at)| DueRule {
            repository: repository.into(),
            rule: rule.into(),
            at,
        });
        Ok(due.collect())
    }

    /// When the first rule is due.
    pub async fn next_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => sqlx::query_scalar(NEXT).fetch_one(c).await)?)
    }

    /// Rules with a schedule, in the order of their ids. `after`: those that come after this one.
    pub async fn scheduled_rules(&self, after: Option<&RuleId>, limit: u32) -> Result<Vec<ScheduledRule>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, String, Option<DateTime<Utc>>)> = on!(reader.handle(), c => {
            sqlx::query_as(
                "select id, schedule, schedule_next_at from rules where schedule is not null and id > $1 order by id limit $2",
            )
            .bind(after.map_or("", RuleId::as_str))
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        let rules = rows.into_iter().map(|(rule, schedule, next_at)| {
            Ok(ScheduledRule {
                rule: rule.into(),
                schedule: from_json("schedule", &schedule)?,
                next_at,
            })
        });
        rules.collect()
    }

    /// Changes when a rule is due, if that still is as it was read.
    pub async fn put_right(&self, rule: &ScheduledRule, next_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "update rules set schedule_next_at = $3 where id = $1 \
                 and (schedule_next_at = $2 or (schedule_next_at is null and $2 is null))",
            )
            .bind(rule.rule.as_str())
            .bind(rule.next_at)
            .bind(next_at)
            .execute(c)
            .await
            .map(drop)
        })?;
        tx.commit().await
    }

    /// The refs of which builds of a rule still hold tags of an image, fully named; the last pushed first. `limit` counts
    /// tags.
    pub async fn live_refs(
        &self,
        repository: &RepositoryId,
        rule: &RuleId,
        image: &str,
        limit: u32,
    ) -> Result<Vec<LiveRef>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => {
            sqlx::query_as::<_, HeldTagRow>(HELD_TAGS)
                .bind(repository.as_str())
                .bind(image)
                .bind(rule.as_str())
                .bind(i64::from(limit))
                .fetch_all(c)
                .await
        })?;
        let mut places = HashMap::new();
        let mut refs: Vec<LiveRef> = Vec::new();
        for row in rows {
            let source_type = known("source type", &row.source_type, SourceType::parse)?;
            let place = *places
                .entry((source_type, row.source_name.clone()))
                .or_insert(refs.len());
            let Some(found) = refs.get_mut(place) else {
                refs.push(LiveRef {
                    source_type,
                    source_name: row.source_name,
                    push_order: row.push_order,
                    commit: row.commit_sha,
                    commit_message: row.commit_message,
                    tags: vec![row.tag],
                });
                continue;
            };
            found.tags.push(row.tag);
            if row.push_order > found.push_order {
                found.push_order = row.push_order;
                found.commit = row.commit_sha;
                found.commit_message = row.commit_message;
            }
        }
        Ok(refs)
    }
}

/// Takes the time that a rule is due at; `false` where somebody else took it, or the rule is due at another time by now.
pub(super) async fn take(tx: &mut Tx, taken: &TakenTime) -> Result<bool, StoreError> {
    let updated = on!(tx.handle(), c => {
        sqlx::query("update rules set schedule_next_at = $3 where id = $1 and schedule_next_at = $2")
            .bind(taken.rule.as_str())
            .bind(taken.at)
            .bind(taken.next)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(updated == 1)
}

/// When the rules of a repository are due.
pub(super) async fn due_times(
    tx: &mut Tx,
    repository: &RepositoryId,
) -> Result<HashMap<RuleId, DateTime<Utc>>, StoreError> {
    let rows: Vec<(String, DateTime<Utc>)> = on!(tx.handle(), c => {
        sqlx::query_as("select id, schedule_next_at from rules where repository_id = $1 and schedule_next_at is not null")
            .bind(repository.as_str())
            .fetch_all(c)
            .await
    })?;
    Ok(rows.into_iter().map(|(rule, at)| (rule.into(), at)).collect())
}

/// When a rule is due that is saved: as before, missed or not, while its times stay the same.
pub(super) fn next_at(
    rule: &Rule,
    old: Option<&Rule>,
    due: &HashMap<RuleId, DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let schedule = rule.schedule.as_ref()?;
    let kept = old.and_then(|old| {
        let has_same_times = old.schedule.as_ref()?.has_times_of(schedule);
        due.get(&old.id).filter(|_| has_same_times).copied()
    });
    kept.or_else(|| schedule.next_after(now))
}
