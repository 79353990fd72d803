//! Deliveries and the builds that they lead to: recorded together or not at all.

use chrono::{DateTime, Utc};

use super::{Store, StoreError, Tx, from_json, known, on, to_json};
use crate::domain::{
    build::{Cause, Plan},
    delivery::Outcome,
    ids::{BuildId, DeliveryId, RepositoryId, RuleId},
    rule::SourceType,
};

/// A delivery to be recorded, with what it asks for.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub id: DeliveryId,
    pub repository_id: RepositoryId,
    /// `github`, ..., or `api` for clicks.
    pub provider: String,
    pub event: String,
    pub delivery_id: Option<String>,
    /// SHA-256 of a push's body: the same body under another id is the same push.
    pub body_hash: Option<[u8; 32]>,
    pub content_type: Option<String>,
    /// Compressed (zstd).
    pub body: Option<Vec<u8>>,
    pub received_at: DateTime<Utc>,
    /// Of the first ref that it names.
    pub source_name: Option<String>,
    pub commit: Option<String>,
    /// The outcomes of everything that leads to no build, each with its reason.
    pub decided: Vec<(Outcome, String)>,
    pub requests: Vec<BuildRequest>,
}

/// A build that a delivery asks for.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    pub id: BuildId,
    pub rule_id: RuleId,
    pub source_type: SourceType,
    pub source_name: String,
    /// `None`: what the ref points to when the worker fetches it.
    pub commit: Option<String>,
    pub commit_message: Option<String>,
    pub cause: Cause,
    pub plan: Plan,
    /// The build whose place in the order of pushes this one takes; `None`: a new place.
    pub push_order: Option<String>,
    /// Whether a build of the same commit for the same rule that is queued or running makes this one needless.
    pub unless_under_way: bool,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub id: DeliveryId,
    pub outcome: Outcome,
    pub reason: String,
    /// What it led to; for a duplicate, what the earlier one led to.
    pub builds: Vec<BuildId>,
    /// The builds that are new, with their rules.
    pub queued: Vec<QueuedBuild>,
    /// Requests that were found needless, with the build that makes them so.
    pub under_way: Vec<(RuleId, BuildId)>,
    /// The delivery that this one repeats.
    pub repeats: Option<DeliveryId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedBuild {
    pub id: BuildId,
    pub rule_id: RuleId,
    pub number: i64,
}

pub(super) const BY_DELIVERY_ID: &str =
    "select id, builds from deliveries where repository_id = $1 and delivery_id = $2 and repeats is null";

pub(super) const BY_BODY: &str =
    "select id, builds from deliveries where repository_id = $1 and body_hash = $2 and repeats is null limit 1";

pub(super) const UNDER_WAY: &str = "select id, number, status from builds where repository_id = $1 and rule_id = $2 and source_name = $3 \
     and source_type = $4 and commit_sha = $5 and status in ('queued', 'running') and not cancel_requested \
     order by id limit 1";

/// SQLite takes the index of builds by ref only where the condition of that index is repeated word for word.
pub(super) const SUPERSEDE: &str = "update builds set status = 'superseded', superseded_by = $6, finished_at = $7, not_before = null, error_kind = null, \
     error_message = null where repository_id = $1 and rule_id = $2 and source_name = $3 and source_type = $4 \
     and status in ('queued', 'running') and status = 'queued' and push_order < $5 returning id";

impl Store {
    /// Records deliveries and queues their builds in one synced transaction. Answers in the order of `deliveries`.
    ///
    /// A delivery whose repository is gone by now is answered with `None`.
    pub async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Vec<Option<Accepted>>, StoreError> {
        let mut tx = self.begin().await?;
        let mut answers = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            answers.push(accept_one(&mut tx, delivery).await?);
        }
        tx.commit().await?;
        Ok(answers)
    }
}

async fn accept_one(tx: &mut Tx, new: &NewDelivery) -> Result<Option<Accepted>, StoreError> {
    // On PostgreSQL this also makes deliveries of one repository wait for each other.
    let touched = on!(tx.handle(), c => {
        sqlx::query("update repositories set next_number = next_number where id = $1")
            .bind(new.repository_id.as_str())
            .execute(c)
            .await
            .map(|done| done.rows_affected())
    })?;
    if touched == 0 {
        return Ok(None);
    }
    if let Some(known) = known_delivery(tx, new).await? {
        record(tx, new, &known).await?;
        return Ok(Some(known));
    }
    let mut accepted = Accepted {
        id: new.id.clone(),
        outcome: Outcome::Ignored,
        reason: String::new(),
        builds: vec![],
        queued: vec![],
        under_way: vec![],
        repeats: None,
    };
    // What is built comes first in the reason.
    let mut parts = Vec::with_capacity(new.requests.len() + new.decided.len());
    for request in &new.requests {
        parts.push(queue_one(tx, new, request, &mut accepted).await?);
    }
    parts.extend(new.decided.iter().cloned());
    accepted.outcome = Outcome::of_all(parts.iter().map(|(outcome, _)| *outcome));
    let mut reasons: Vec<&str> = Vec::new();
    for (_, reason) in &parts {
        if !reason.is_empty() && !reasons.contains(&reason.as_str()) {
            reasons.push(reason);
        }
    }
    accepted.reason = reasons.join("; ");
    record(tx, new, &accepted).await?;
    Ok(Some(accepted))
}

/// Queues one build, unless it is needless, and sets older ones of its rule and ref aside.
async fn queue_one(
    tx: &mut Tx,
    new: &NewDelivery,
    request: &BuildRequest,
    accepted: &mut Accepted,
) -> Result<(Outcome, String), StoreError> {
    if request.unless_under_way
        && let Some((id, number, status)) = build_under_way(tx, new, request).await?
    {
        accepted.builds.push(id.clone());
        accepted.under_way.push((request.rule_id.clone(), id));
        let commit = request.commit.as_deref().unwrap_or_default();
        let reason = format!(
            "{} of {} is {status} already as build #{number}",
            short(commit),
            request.source_name
        );
        return Ok((Outcome::Duplicate, reason));
    }
    let number = insert_build(tx, new, request).await?;
    let superseded = supersede_older(tx, new, request, number).await?;
    accepted.builds.push(request.id.clone());
    accepted.queued.push(QueuedBuild {
        id: request.id.clone(),
        rule_id: request.rule_id.clone(),
        number,
    });
    let mut reason = format!("build #{number} of {}", request.source_name);
    if superseded > 0 {
        reason.push_str(&format!(", in place of {superseded} older queued"));
    }
    Ok((Outcome::Queued, reason))
}

/// A commit's name as people say it.
fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// The earlier delivery that this one repeats, as the answer to this one.
async fn known_delivery(tx: &mut Tx, new: &NewDelivery) -> Result<Option<Accepted>, StoreError> {
    let by_id: Option<(String, String)> = match &new.delivery_id {
        Some(delivery_id) => on!(tx.handle(), c => {
            sqlx::query_as(BY_DELIVERY_ID)
            .bind(new.repository_id.as_str())
            .bind(delivery_id)
            .fetch_optional(c)
            .await
        })?,
        None => None,
    };
    let (earlier, why) = match (by_id, &new.body_hash) {
        (Some(earlier), _) => (Some(earlier), "the same delivery came before"),
        (None, Some(hash)) => (
            on!(tx.handle(), c => {
                sqlx::query_as(BY_BODY)
                .bind(new.repository_id.as_str())
                .bind(hash.as_slice())
                .fetch_optional(c)
                .await
            })?,
            "the same body came before under another delivery id",
        ),
        (None, None) => (None, ""),
    };
    let Some((id, builds)) = earlier else { return Ok(None) };
    Ok(Some(Accepted {
        id: new.id.clone(),
        outcome: Outcome::Duplicate,
        reason: format!("{why}, as {id}"),
        builds: from_json("builds", &builds)?,
        queued: vec![],
        under_way: vec![],
        repeats: Some(id.into()),
    }))
}

async fn record(tx: &mut Tx, new: &NewDelivery, accepted: &Accepted) -> Result<(), StoreError> {
    let builds = to_json(&accepted.builds)?;
    on!(tx.handle(), c => {
        sqlx::query(
            "insert into deliveries (id, repository_id, provider, event, delivery_id, body_hash, content_type, received_at, \
             source_name, commit_sha, outcome, reason, repeats, builds) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(new.id.as_str())
        .bind(new.repository_id.as_str())
        .bind(&new.provider)
        .bind(&new.event)
        .bind(new.delivery_id.as_deref())
        .bind(new.body_hash.as_ref().map(<[u8; 32]>::as_slice))
        .bind(new.content_type.as_deref())
        .bind(new.received_at)
        .bind(new.source_name.as_deref())
        .bind(new.commit.as_deref())
        .bind(accepted.outcome.as_str())
        .bind(&accepted.reason)
        .bind(accepted.repeats.as_ref().map(DeliveryId::as_str))
        .bind(&builds)
        .execute(c)
        .await
        .map(drop)
    })?;
    // A repeated body is kept once, with the delivery that it came with first.
    if let (Some(body), None) = (&new.body, &accepted.repeats) {
        on!(tx.handle(), c => {
            sqlx::query("insert into delivery_bodies (delivery_id, body) values ($1, $2)")
                .bind(new.id.as_str())
                .bind(body)
                .execute(c)
                .await
                .map(drop)
        })?;
    }
    Ok(())
}

async fn build_under_way(
    tx: &mut Tx,
    new: &NewDelivery,
    request: &BuildRequest,
) -> Result<Option<(BuildId, i64, String)>, StoreError> {
    let Some(commit) = &request.commit else { return Ok(None) };
    let found: Option<(String, i64, String)> = on!(tx.handle(), c => {
        sqlx::query_as(UNDER_WAY)
        .bind(new.repository_id.as_str())
        .bind(request.rule_id.as_str())
        .bind(&request.source_name)
        .bind(request.source_type.as_str())
        .bind(commit)
        .fetch_optional(c)
        .await
    })?;
    Ok(found.map(|(id, number, status)| (id.into(), number, status)))
}

async fn insert_build(tx: &mut Tx, new: &NewDelivery, request: &BuildRequest) -> Result<i64, StoreError> {
    let number: i64 = on!(tx.handle(), c => {
        sqlx::query_scalar("update repositories set next_number = next_number + 1 where id = $1 returning next_number - 1")
            .bind(new.repository_id.as_str())
            .fetch_one(c)
            .await
    })?;
    let cause = to_json(&request.cause)?;
    let plan = to_json(&request.plan)?;
    on!(tx.handle(), c => {
        sqlx::query(
            "insert into builds (id, repository_id, number, rule_id, status, cause, source_type, source_name, commit_sha, \
             commit_message, plan, push_order, base_images, steps, queued_at, fence, attempt, cancel_requested, log_size, log_sealed) \
             values ($1, $2, $3, $4, 'queued', $5, $6, $7, $8, $9, $10, $11, '[]', '[]', $12, 0, 0, false, 0, false)",
        )
        .bind(request.id.as_str())
        .bind(new.repository_id.as_str())
        .bind(number)
        .bind(request.rule_id.as_str())
        .bind(&cause)
        .bind(request.source_type.as_str())
        .bind(&request.source_name)
        .bind(request.commit.as_deref())
        .bind(request.commit_message.as_deref())
        .bind(&plan)
        .bind(request.push_order.as_deref().unwrap_or(request.id.as_str()))
        .bind(new.received_at)
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(number)
}

/// Ends the queued builds of the same rule and ref that came before, saying which one took their place.
async fn supersede_older(
    tx: &mut Tx,
    new: &NewDelivery,
    request: &BuildRequest,
    number: i64,
) -> Result<usize, StoreError> {
    let order = request.push_order.as_deref().unwrap_or(request.id.as_str());
    let superseded: Vec<String> = on!(tx.handle(), c => {
        sqlx::query_scalar(SUPERSEDE)
        .bind(new.repository_id.as_str())
        .bind(request.rule_id.as_str())
        .bind(&request.source_name)
        .bind(request.source_type.as_str())
        .bind(order)
        .bind(request.id.as_str())
        .bind(new.received_at)
        .fetch_all(c)
        .await
    })?;
    for id in &superseded {
        super::logs::append_line(tx, id, &format!("superseded by build #{number} before it started\n")).await?;
    }
    Ok(superseded.len())
}

/// Parses an outcome as stored.
pub(super) fn outcome(text: &str) -> Result<Outcome, StoreError> {
    known("outcome", text, Outcome::parse)
}
