//! Which build holds a tag. An older build never overwrites the tag of a newer one, and only one pushes it at a time.

use chrono::{DateTime, Utc};

use super::{Lease, LeaseLost, Store, StoreError, Tx, base_graph, lease::hold, on, watched_images};
use crate::domain::ids::{BuildId, RepositoryId};

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

/// What was pushed under a tag.
#[derive(Debug, Clone, Copy)]
pub struct PushedTag<'a> {
    /// Without a tag, with its registry.
    pub image: &'a str,
    pub tag: &'a str,
    /// The manifest's; `None` where the image stays in the engine.
    pub digest: Option<&'a str>,
    /// Unpacked.
    pub image_bytes: Option<u64>,
    pub at: DateTime<Utc>,
}

/// A tag that a build of a repository holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryTag {
    /// Without a tag, with its registry.
    pub image: String,
    pub tag: String,
    pub digest: Option<String>,
    /// Unpacked.
    pub image_bytes: Option<u64>,
    pub pushed_at: DateTime<Utc>,
    pub build: BuildId,
    /// `None` where the build is gone.
    pub build_number: Option<i64>,
}

/// The last tag of a page, after which the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagCursor {
    pub image: String,
    pub tag: String,
}

#[derive(sqlx::FromRow)]
struct TagRow {
    image: String,
    tag: String,
    digest: Option<String>,
    image_bytes: Option<i64>,
    pushed_at: DateTime<Utc>,
    newest_build: String,
    number: Option<i64>,
}

impl TryFrom<TagRow> for RepositoryTag {
    type Error = StoreError;

    fn try_from(row: TagRow) -> Result<Self, StoreError> {
        let negative = |_| StoreError::Corrupt("a negative size of an image".to_owned());
        Ok(Self {
            image: row.image,
            tag: row.tag,
            digest: row.digest,
            image_bytes: row.image_bytes.map(u64::try_from).transpose().map_err(negative)?,
            pushed_at: row.pushed_at,
            build: row.newest_build.into(),
            build_number: row.number,
        })
    }
}

macro_rules! select_tags {
    ($more:literal) => {
        concat!(
            "select t.image, t.tag, t.digest, t.image_bytes, t.pushed_at, t.newest_build, b.number \
             from published_tags t left join builds b on b.id = t.newest_build \
             where t.repository_id = $1 ",
            $more,
            "order by t.pushed_at desc, t.image desc, t.tag desc limit $2"
        )
    };
}

pub(super) const FIRST_TAGS: &str = select_tags!("");

pub(super) const MORE_TAGS: &str = select_tags!(
    "and (t.pushed_at, t.image, t.tag) < \
     (select c.pushed_at, c.image, c.tag from published_tags c where c.image = $3 and c.tag = $4 and c.repository_id = $1) "
);

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
    pub async fn tag_pushed(&self, lease: &Lease, push_order: &str, pushed: &PushedTag<'_>) -> Result<(), LeaseLost> {
        let mut tx = self.begin().await?;
        hold(&mut tx, lease).await?;
        let before: Option<Option<String>> = on!(tx.handle(), c => {
            sqlx::query_scalar("select newest_build from published_tags where image = $1 and tag = $2")
                .bind(pushed.image)
                .bind(pushed.tag)
                .fetch_optional(c)
                .await
        })
        .map_err(StoreError::from)?;
        let changed = on!(tx.handle(), c => {
            sqlx::query(
                "update published_tags set newest_order = $5, newest_build = $3, pushing_build = null, pushing_fence = null, \
                 repository_id = (select repository_id from builds where id = $3), digest = $6, image_bytes = $7, \
                 pushed_at = $8 \
                 where image = $1 and tag = $2 and pushing_build = $3 and pushing_fence = $4",
            )
            .bind(pushed.image)
            .bind(pushed.tag)
            .bind(lease.build().as_str())
            .bind(lease.fence())
            .bind(push_order)
            .bind(pushed.digest)
            .bind(pushed.image_bytes.and_then(|bytes| i64::try_from(bytes).ok()))
            .bind(pushed.at)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })
        .map_err(StoreError::from)?;
        if changed != 1 {
            return Err(LeaseLost::Lost);
        }
        if let Some(before) = before.flatten() {
            base_graph::forget_if_untagged(&mut tx, &before).await?;
        }
        // What stands on it is told of it at once, by a look at the registry.
        let image = format!("{}:{}", pushed.image, pushed.tag);
        watched_images::due_now(&mut tx, &image, pushed.at).await?;
        Ok(tx.commit().await?)
    }

    /// The tags that builds of a repository hold, the last pushed first. `after`: those that come after this one.
    pub async fn repository_tags(
        &self,
        repository: &RepositoryId,
        after: Option<&TagCursor>,
        limit: u32,
    ) -> Result<Vec<RepositoryTag>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = on!(reader.handle(), c => match after {
            None => {
                sqlx::query_as::<_, TagRow>(FIRST_TAGS)
                    .bind(repository.as_str())
                    .bind(i64::from(limit))
                    .fetch_all(c)
                    .await
            }
            Some(after) => {
                sqlx::query_as::<_, TagRow>(MORE_TAGS)
                    .bind(repository.as_str())
                    .bind(i64::from(limit))
                    .bind(&after.image)
                    .bind(&after.tag)
                    .fetch_all(c)
                    .await
            }
        })?;
        rows.into_iter().map(RepositoryTag::try_from).collect()
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
