//! What a worker writes while it builds, up to how the attempt ends. Nothing here takes effect under a stale lease.

use chrono::{DateTime, Utc};

use super::{
    Lease, LeaseLost, Store, StoreError, base_graph,
    lease::{held, update_held},
    on, outbox, path_filters, tags, to_json,
};
use crate::domain::build::{BaseImage, Ending, Phase, Step};

/// Why a running build goes back to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requeue {
    /// Shown while it waits.
    pub why: String,
    /// `None`: at once.
    pub not_before: Option<DateTime<Utc>>,
    /// Whether this attempt counts towards the limit: a fault does, a shutdown does not.
    pub counts: bool,
}

impl Store {
    /// Renews a lease.
    pub async fn heartbeat(&self, lease: &Lease, until: DateTime<Utc>) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        update_held!(tx, lease, "leased_until = $3", until)?;
        Ok(tx.commit().await?)
    }

    /// Whether somebody asked for this build to be canceled; also tells a lost lease.
    pub async fn cancel_requested(&self, lease: &Lease) -> Result<bool, LeaseLost> {
        let mut reader = self.reader().await?;
        let requested: Option<bool> = on!(reader.handle(), c => {
            sqlx::query_scalar(concat!("select cancel_requested from builds ", held!()))
                .bind(lease.build().as_str())
                .bind(lease.fence())
                .fetch_optional(c)
                .await
        })
        .map_err(StoreError::from)?;
        requested.ok_or(LeaseLost::Lost)
    }

    pub async fn set_phase(&self, lease: &Lease, phase: Phase) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        update_held!(tx, lease, "phase = $3", phase.as_str())?;
        Ok(tx.commit().await?)
    }

    /// Records which commit the checkout really has.
    pub async fn set_commit(&self, lease: &Lease, commit: &str, message: &str) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        update_held!(tx, lease, "commit_sha = $3, commit_message = $4", commit, message)?;
        Ok(tx.commit().await?)
    }

    pub async fn set_steps(&self, lease: &Lease, steps: &[Step]) -> Result<(), LeaseLost> {
        let steps = to_json(&steps)?;
        let mut tx = self.begin().await?;
        update_held!(tx, lease, "steps = $3", &steps)?;
        Ok(tx.commit().await?)
    }

    /// Ends a build, and lets go of the tags it was pushing.
    pub async fn finish(
        &self,
        lease: &Lease,
        ending: &Ending,
        base_images: &[BaseImage],
        now: DateTime<Utc>,
    ) -> Result<(), LeaseLost> {
        let (digest, failure, by) = match ending {
            Ending::Succeeded { digest } => (digest.as_deref(), None, None),
            Ending::Failed(failure) => (None, Some(failure), None),
            Ending::Superseded { by } => (None, None, Some(by.as_str())),
            Ending::Canceled | Ending::Skipped { .. } => (None, None, None),
        };
        let reason = match ending {
            Ending::Skipped { reason } => Some(reason.as_str()),
            _ => None,
        };
        let stored_bases = to_json(&base_images)?;
        let mut tx = self.begin().await?;
        if let Some(reason) = reason {
            path_filters::tell_ledger(&mut tx, lease.build(), "skipped", reason).await?;
        }
        update_held!(
            tx,
            lease,
            "status = $3, phase = null, leased_until = null, finished_at = $4, digest = $5, base_images = $6, \
             error_kind = $7, error_message = $8, superseded_by = $9, \
             status_reason = coalesce($10, status_reason)",
            ending.status().as_str(),
            now,
            digest,
            &stored_bases,
            failure.map(|f| f.kind.as_str()),
            failure.map(|f| f.message.as_str()),
            by,
            reason,
        )?;
        tags::release(&mut tx, lease).await?;
        base_graph::record(&mut tx, lease.build(), base_images).await?;
        outbox::tell_of_end(&mut tx, lease.build(), ending.status(), now).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a running build back to the queue, at its old place.
    pub async fn requeue(&self, lease: &Lease, requeue: &Requeue) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        update_held!(
            tx,
            lease,
            "status = 'queued', phase = null, worker_id = null, leased_until = null, started_at = null, not_before = $3, \
             error_kind = 'engine', error_message = $4, attempt = case when $5 then attempt else attempt - 1 end",
            requeue.not_before,
            &requeue.why,
            requeue.counts,
        )?;
        tags::release(&mut tx, lease).await?;
        Ok(tx.commit().await?)
    }
}
