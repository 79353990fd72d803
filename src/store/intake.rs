//! Deliveries and the builds that they lead to: recorded together or not at all.
//!
//! Each statement costs its way to the database and back, which under load is what costs most. So a group of deliveries is
//! recorded by few of them: what they are held against is read for all, what they lead to is decided in memory in their
//! order, and all rows are written at the end.

mod group;
mod lookups;
mod rows;

use chrono::{DateTime, Utc};

use self::group::Group;
use super::{Store, StoreError, TakenTime, Tx, contributions, from_json, known, on, schedules, to_json};
use crate::domain::{
    build::{Before, Cause, Plan},
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
    /// The time of a schedule that it starts.
    pub takes: Option<TakenTime>,
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
    /// Whether a build of the same commit for the same rule that is queued or running makes this one needless; where no
    /// commit is named, any of the same ref.
    pub unless_under_way: bool,
    /// What the path filter of its rule compares with; `None`: it builds whatever was changed.
    pub before: Option<Before>,
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

pub(super) use rows::{pieces, placeholders};

#[cfg(test)]
pub(super) use lookups::{SUPERSEDE, UNDER_WAY, by_body, by_delivery_id};

impl Store {
    /// Records deliveries and queues their builds in one synced transaction. Answers in the order of `deliveries`.
    ///
    /// A delivery whose repository is gone by now, or whose time of a schedule another took, is answered with `None`. What they lead to is the same as if each were
    /// recorded by itself, in their order.
    pub async fn accept(&self, deliveries: &[NewDelivery]) -> Result<Vec<Option<Accepted>>, StoreError> {
        let mut tx = self.begin().await?;
        let mut group = Group::begin(&mut tx, deliveries).await?;
        let mut answers = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            answers.push(group.take(&mut tx, delivery).await?);
        }
        group.write(&mut tx).await?;
        tx.commit().await?;
        Ok(answers)
    }
}

/// Parses an outcome as stored.
pub(super) fn outcome(text: &str) -> Result<Outcome, StoreError> {
    known("outcome", text, Outcome::parse)
}
