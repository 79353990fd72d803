//! Which build holds a tag. An older build never overwrites the tag of a newer one, and only one pushes it at a time.

use chrono::{DateTime, Utc};

use super::{Lease, LeaseLost, Store, StoreError, Tx, lease::hold, on};
use crate::domain::ids::BuildId;

/// May a build push a tag?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagClaim {
    /// Yes; nobody else will until it is released.
    Granted,
    /// No: this newer build has pushed it.
    Newer(BuildId),
    /// Not yet: this build is pushing it.
    Busy(BuildId),
}

impl Store {
    /// Asks for the right to push `image:tag` for the build that is leased.
    pub async fn claim_tag(
        &self,
        lease: &Lease,
        push_order: &str,
        image: &str,
        tag: &str,
        now: DateTime<Utc>,
    ) -> Result<TagClaim, LeaseLost> {
        let mut tx = self.begin().await?;
        hold(&mut tx, lease).await?;
        // Inserting or touching the row locks it until the commit.
        let (order, newest, pushing, fence): (Option<String>, Option<String>, Option<String>, Option<i64>) =
            on!(tx.handle(), c => {
                sqlx::query_as(
                    "insert into published_tags (image, tag) values ($1, $2) \
                     on conflict (image, tag) do update set tag = excluded.tag \
                     returning newest_order, newest_build, pushing_build, pushing_fence",
                )
                .bind(image)
                .bind(tag)
                .fetch_one(c)
                .await
            })
            .map_err(StoreError::from)?;
        if let (Some(order), Some(newest)) = (order, newest)
            && order.as_str() > push_order
        {
            return Ok(TagClaim::Newer(newest.into()));
        }
        if let (Some(pushing), Some(fence)) = (pushing, fence)
            && pushing != lease.build().as_str()
            && is_running(&mut tx, &pushing, fence, now).await?
        {
            return Ok(TagClaim::Busy(pushing.into()));
        }
        on!(tx.handle(), c => {
            sqlx::query("update published_tags set pushing_build = $3, pushing_fence = $4 where image = $1 and tag = $2")
                .bind(image)
                .bind(tag)
                .bind(lease.build().as_str())
                .bind(lease.fence())
                .execute(c)
                .await
                .map(drop)
        })
        .map_err(StoreError::from)?;
        tx.commit().await?;
        Ok(TagClaim::Granted)
    }

    /// Records that the leased build has pushed a tag, and lets go of it.
    pub async fn tag_pushed(&self, lease: &Lease, push_order: &str, image: &str, tag: &str) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        hold(&mut tx, lease).await?;
        let changed = on!(tx.handle(), c => {
            sqlx::query(
                "update published_tags set newest_order = $5, newest_build = $3, pushing_build = null, pushing_fence = null \
                 where image = $1 and tag = $2 and pushing_build = $3 and pushing_fence = $4",
            )
            .bind(image)
            .bind(tag)
            .bind(lease.build().as_str())
            .bind(lease.fence())
            .bind(push_order)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })
        .map_err(StoreError::from)?;
        if changed != 1 {
            return Err(LeaseLost::Lost);
        }
        Ok(tx.commit().await?)
    }
}

/// Lets go of every tag that an attempt was pushing.
pub(super) async fn release(tx: &mut Tx, lease: &Lease) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query(
            "update published_tags set pushing_build = null, pushing_fence = null \
             where pushing_build = $1 and pushing_fence = $2",
        )
        .bind(lease.build().as_str())
        .bind(lease.fence())
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(())
}

async fn is_running(tx: &mut Tx, build: &str, fence: i64, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let running: Option<i64> = on!(tx.handle(), c => {
        sqlx::query_scalar(
            "select fence from builds where id = $1 and fence = $2 and status = 'running' and leased_until >= $3",
        )
        .bind(build)
        .bind(fence)
        .bind(now)
        .fetch_optional(c)
        .await
    })?;
    Ok(running.is_some())
}
