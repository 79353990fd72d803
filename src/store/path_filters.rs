//! What path filters need to know of earlier builds, and what they decided.

use super::{Build, Lease, LeaseLost, Store, StoreError, Tx, from_json, lease::update_held, on};
use crate::domain::{
    build::{Cause, Plan},
    ids::BuildId,
};

/// What came before a build, of the same rule and branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// This one was built last, and nothing that came between is still to be built.
    Built(Box<BuiltCommit>),
    /// Nothing was built yet. If something was tried, it was skipped or another build took its place.
    Nothing,
    /// What came between, or before, may not have been built: the number of such a build.
    Open(i64),
}

/// A build that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltCommit {
    pub number: i64,
    pub commit: String,
    pub plan: Plan,
}

/// The place of a build in the order of pushes counts, not when it was made: a retry may be of an old commit.
pub(super) const LAST_BUILT: &str = "select number, commit_sha, plan, push_order from builds \
     where rule_id = $1 and source_name = $2 and source_type = $3 and status = 'succeeded' and push_order < $4 \
     and commit_sha is not null order by push_order desc, id desc limit 1";

pub(super) const UNDER_WAY_BETWEEN: &str = "select number from builds \
     where repository_id = $1 and rule_id = $2 and source_name = $3 and source_type = $4 \
     and status in ('queued', 'running') and push_order > $5 and push_order < $6 order by id limit 1";

/// One that was superseded before it started had its place taken by one that is compared with what it would have been.
pub(super) const NOT_BUILT: &str = "select number from builds \
     where repository_id = $1 and rule_id = $2 and source_name = $3 and source_type = $4 and push_order < $5 \
     and (status in ('queued', 'running', 'failed', 'canceled') or (status = 'superseded' and started_at is not null)) \
     order by id desc limit 1";

impl Store {
    /// What was built before a build, of its rule and branch.
    pub async fn built_before(&self, build: &Build) -> Result<Earlier, StoreError> {
        let mut reader = self.reader().await?;
        let last: Option<(i64, String, String, String)> = on!(reader.handle(), c => {
            sqlx::query_as(LAST_BUILT)
                .bind(build.rule_id.as_str())
                .bind(&build.source_name)
                .bind(build.source_type.as_str())
                .bind(&build.push_order)
                .fetch_optional(c)
                .await
        })?;
        let Some((number, commit, plan, push_order)) = last else {
            let open: Option<i64> = on!(reader.handle(), c => {
                sqlx::query_scalar(NOT_BUILT)
                    .bind(build.repository_id.as_str())
                    .bind(build.rule_id.as_str())
                    .bind(&build.source_name)
                    .bind(build.source_type.as_str())
                    .bind(&build.push_order)
                    .fetch_optional(c)
                    .await
            })?;
            return Ok(open.map_or(Earlier::Nothing, Earlier::Open));
        };
        let open: Option<i64> = on!(reader.handle(), c => {
            sqlx::query_scalar(UNDER_WAY_BETWEEN)
                .bind(build.repository_id.as_str())
                .bind(build.rule_id.as_str())
                .bind(&build.source_name)
                .bind(build.source_type.as_str())
                .bind(&push_order)
                .bind(&build.push_order)
                .fetch_optional(c)
                .await
        })?;
        match open {
            Some(open) => Ok(Earlier::Open(open)),
            None => Ok(Earlier::Built(Box::new(BuiltCommit {
                number,
                commit,
                plan: from_json("plan", &plan)?,
            }))),
        }
    }

    /// Records which changed file makes a build go on, with the build and in the ledger.
    pub async fn set_status_reason(&self, lease: &Lease, reason: &str) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        tell_ledger(&mut tx, lease.build(), "built", reason).await?;
        update_held!(tx, lease, "status_reason = $3", reason)?;
        Ok(tx.commit().await?)
    }
}

/// Adds to the reason of the delivery that a build came from. Called before the reason is stored with the build: what a
/// former attempt said already is not said twice.
pub(super) async fn tell_ledger(tx: &mut Tx, build: &BuildId, what: &str, reason: &str) -> Result<(), StoreError> {
    let row: Option<(i64, String, Option<String>)> = on!(tx.handle(), c => {
        sqlx::query_as("select number, cause, status_reason from builds where id = $1")
            .bind(build.as_str())
            .fetch_optional(c)
            .await
    })?;
    let Some((number, cause, said)) = row else {
        return Ok(());
    };
    let Cause::Push { delivery } = from_json("cause", &cause)? else {
        return Ok(());
    };
    if said.as_deref() == Some(reason) {
        return Ok(());
    }
    on!(tx.handle(), c => {
        sqlx::query("update deliveries set reason = reason || $2 where id = $1")
            .bind(&delivery)
            .bind(format!("; build #{number} {what}: {reason}"))
            .execute(c)
            .await
            .map(drop)
    })?;
    Ok(())
}
