//! Images that are watched: what their tags stand for, since when, and when to look again.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{Handle, Store, StoreError, base_graph, from_json, on, to_json};
use crate::domain::{base_graph::Graph, image::ImageReference};

/// What is watched: an image, by whose credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchKey {
    /// Fully named, with its tag.
    pub image: String,
    /// Of a namespace that has its own for the registry; empty: the whole server's, or none.
    pub access: String,
}

/// An image that is watched, as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedImage {
    pub key: WatchKey,
    /// Its registry's host.
    pub registry: String,
    pub digest: Option<String>,
    /// When this digest was first seen.
    pub since: Option<DateTime<Utc>>,
    /// When the registry last answered.
    pub checked_at: Option<DateTime<Utc>>,
    /// The registry has said since then that there is no such image.
    pub gone_since: Option<DateTime<Utc>>,
    /// Why the last look failed.
    pub problem: Option<String>,
    pub check_at: DateTime<Utc>,
}

/// What a look at an image found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// The digest that its tag stands for.
    Digest(String),
    /// There is no such image any more.
    Gone,
    /// It could not be looked at, and why.
    Failed(String),
}

/// A digest that a watched image has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVersion {
    pub digest: String,
    pub first_seen_at: DateTime<Utc>,
    /// Digest by platform (`linux/amd64`), empty for an image of one platform; `None`: nobody has asked.
    pub platforms: Option<BTreeMap<String, String>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    image: String,
    access: String,
    registry: String,
    digest: Option<String>,
    since: Option<DateTime<Utc>>,
    checked_at: Option<DateTime<Utc>>,
    gone_since: Option<DateTime<Utc>>,
    problem: Option<String>,
    check_at: DateTime<Utc>,
}

impl From<Row> for WatchedImage {
    fn from(row: Row) -> Self {
        Self {
            key: WatchKey {
                image: row.image,
                access: row.access,
            },
            registry: row.registry,
            digest: row.digest,
            since: row.since,
            checked_at: row.checked_at,
            gone_since: row.gone_since,
            problem: row.problem,
            check_at: row.check_at,
        }
    }
}

macro_rules! select_watched {
    ($rest:literal) => {
        concat!(
            "select image, access, registry, digest, since, checked_at, gone_since, problem, check_at \
             from watched_images ",
            $rest
        )
    };
}

pub(super) const DUE: &str = select_watched!("where check_at <= $1 order by check_at limit $2");

impl Store {
    /// Sees to it that exactly what something stands on is watched. What is new is due at once.
    pub async fn watch_what_is_stood_on(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let graph = base_graph::graph(tx.handle()).await?;
        let wanted = stood_on(&graph);
        let watched: Vec<(String, String)> = on!(tx.handle(), c => {
            sqlx::query_as("select image, access from watched_images").fetch_all(c).await
        })?;
        let watched: HashSet<WatchKey> = watched
            .into_iter()
            .map(|(image, access)| WatchKey { image, access })
            .collect();
        for key in wanted.difference(&watched) {
            // What cannot be asked for is not watched; the page says that it has not been seen.
            let Ok(reference) = ImageReference::parse(&key.image) else {
                continue;
            };
            on!(tx.handle(), c => {
                sqlx::query(
                    "insert into watched_images (image, access, registry, check_at) values ($1, $2, $3, $4) \
                     on conflict (image, access) do nothing",
                )
                .bind(&key.image)
                .bind(&key.access)
                .bind(&reference.registry)
                .bind(now)
                .execute(c)
                .await
                .map(drop)
            })?;
        }
        for key in watched.difference(&wanted) {
            on!(tx.handle(), c => {
                sqlx::query("delete from watched_images where image = $1 and access = $2")
                    .bind(&key.image)
                    .bind(&key.access)
                    .execute(c)
                    .await
                    .map(drop)
            })?;
        }
        tx.commit().await
    }

    /// The images that are to be looked at by now, the longest due first.
    pub async fn images_due(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<WatchedImage>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.handle(), c => {
            sqlx::query_as(DUE).bind(now).bind(i64::from(limit)).fetch_all(c).await
        })?;
        Ok(rows.into_iter().map(WatchedImage::from).collect())
    }

    /// When the next image is to be looked at.
    pub async fn next_image_due(&self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => {
            sqlx::query_scalar("select min(check_at) from watched_images").fetch_one(c).await
        })?)
    }

    /// Takes the look at an image for as long as that may take; `false`: another process has taken it meanwhile.
    pub async fn take_look(
        &self,
        image: &WatchedImage,
        now: DateTime<Utc>,
        within: Duration,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let taken = on!(tx.handle(), c => {
            sqlx::query("update watched_images set check_at = $4 where image = $1 and access = $2 and check_at = $3")
                .bind(&image.key.image)
                .bind(&image.key.access)
                .bind(image.check_at)
                .bind(now + within)
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(taken == 1)
    }

    /// Puts off a look that nobody has taken.
    pub async fn put_off_look(&self, image: &WatchedImage, until: DateTime<Utc>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query("update watched_images set check_at = $4 where image = $1 and access = $2 and check_at = $3")
                .bind(&image.key.image)
                .bind(&image.key.access)
                .bind(image.check_at)
                .bind(until)
                .execute(c)
                .await
                .map(drop)
        })?;
        tx.commit().await
    }

    /// Records what a look found, and when to look again: then, or earlier if somebody asked for that meanwhile, which a
    /// `check_at` before `taken_until` tells.
    pub async fn image_seen(
        &self,
        key: &WatchKey,
        sighting: &Sighting,
        (taken_until, again_at): (DateTime<Utc>, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (digest, problem) = match sighting {
            Sighting::Digest(digest) => (Some(digest.as_str()), None),
            Sighting::Gone => (None, None),
            Sighting::Failed(problem) => (None, Some(problem.as_str())),
        };
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "update watched_images set \
                 since = case when $3 is null or digest = $3 then since else $5 end, \
                 digest = coalesce($3, digest), problem = $4, \
                 gone_since = case when $3 is not null then null when $4 is not null then gone_since \
                 else coalesce(gone_since, $5) end, \
                 checked_at = case when $4 is null then $5 else checked_at end, \
                 check_at = case when check_at < $6 then check_at else $7 end \
                 where image = $1 and access = $2",
            )
            .bind(&key.image)
            .bind(&key.access)
            .bind(digest)
            .bind(problem)
            .bind(now)
            .bind(taken_until)
            .bind(again_at)
            .execute(c)
            .await
            .map(drop)
        })?;
        if let Some(digest) = digest {
            on!(tx.handle(), c => {
                sqlx::query(
                    "insert into image_versions (image, access, digest, first_seen_at) values ($1, $2, $3, $4) \
                     on conflict (image, access, digest) do nothing",
                )
                .bind(&key.image)
                .bind(&key.access)
                .bind(digest)
                .bind(now)
                .execute(c)
                .await
                .map(drop)
            })?;
        }
        tx.commit().await
    }

    /// Has watched images of a registry looked at now: those named, as path and tag. Answers which are watched.
    pub async fn look_now(
        &self,
        registry: &str,
        pushed: &[(String, String)],
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin().await?;
        let mut watched = Vec::new();
        for (path, tag) in pushed {
            let image = format!("{registry}/{path}:{tag}");
            if due_now(&mut tx, &image, now).await? && !watched.contains(&image) {
                watched.push(image);
            }
        }
        tx.commit().await?;
        Ok(watched)
    }

    /// Has one image looked at now; `false`: it is not watched.
    pub async fn look_at_image_now(&self, image: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let watched = due_now(&mut tx, image, now).await?;
        tx.commit().await?;
        Ok(watched)
    }

    /// Everything that is watched, by name.
    pub async fn watched_images(&self) -> Result<Vec<WatchedImage>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<Row> = on!(reader.handle(), c => {
            sqlx::query_as(select_watched!("order by image, access")).fetch_all(c).await
        })?;
        Ok(rows.into_iter().map(WatchedImage::from).collect())
    }

    pub async fn watched_image(&self, key: &WatchKey) -> Result<Option<WatchedImage>, StoreError> {
        let mut reader = self.reader().await?;
        one(reader.handle(), key).await
    }

    /// The digests that a watched image has had, the latest first.
    pub async fn image_versions(&self, key: &WatchKey, limit: u32) -> Result<Vec<ImageVersion>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<(String, DateTime<Utc>, Option<String>)> = on!(reader.handle(), c => {
            sqlx::query_as(
                "select digest, first_seen_at, platforms from image_versions where image = $1 and access = $2 \
                 order by first_seen_at desc, digest limit $3",
            )
            .bind(&key.image)
            .bind(&key.access)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        rows.into_iter()
            .map(|(digest, first_seen_at, platforms)| {
                Ok(ImageVersion {
                    digest,
                    first_seen_at,
                    platforms: platforms.map(|json| from_json("platforms", &json)).transpose()?,
                })
            })
            .collect()
    }

    /// The digests of an image's platforms under one of its digests; `None`: nobody has asked yet.
    pub async fn platforms_of_version(
        &self,
        key: &WatchKey,
        digest: &str,
    ) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        let mut reader = self.reader().await?;
        let stored: Option<Option<String>> = on!(reader.handle(), c => {
            sqlx::query_scalar("select platforms from image_versions where image = $1 and access = $2 and digest = $3")
                .bind(&key.image)
                .bind(&key.access)
                .bind(digest)
                .fetch_optional(c)
                .await
        })?;
        stored.flatten().map(|json| from_json("platforms", &json)).transpose()
    }

    /// Keeps what the platforms of a version are. A digest that was never seen under the tag is not listed by it.
    pub async fn record_platforms(
        &self,
        key: &WatchKey,
        digest: &str,
        platforms: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let platforms = to_json(platforms)?;
        let mut tx = self.begin().await?;
        on!(tx.handle(), c => {
            sqlx::query(
                "update image_versions set platforms = $4 where image = $1 and access = $2 and digest = $3",
            )
            .bind(&key.image)
            .bind(&key.access)
            .bind(digest)
            .bind(&platforms)
            .execute(c)
            .await
            .map(drop)
        })?;
        tx.commit().await
    }
}

pub(super) async fn one(handle: Handle<'_>, key: &WatchKey) -> Result<Option<WatchedImage>, StoreError> {
    let row: Option<Row> = on!(handle, c => {
        sqlx::query_as(select_watched!("where image = $1 and access = $2"))
            .bind(&key.image)
            .bind(&key.access)
            .fetch_optional(c)
            .await
    })?;
    Ok(row.map(WatchedImage::from))
}

/// Everything that something stands on, by whose credentials.
fn stood_on(graph: &Graph) -> HashSet<WatchKey> {
    let bases = graph.targets().iter().flat_map(|target| &target.stands_on);
    bases
        .map(|base| WatchKey {
            image: base.image.clone(),
            access: base.access.clone(),
        })
        .collect()
}

pub(super) async fn due_now(tx: &mut super::Tx, image: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let rows = on!(tx.handle(), c => {
        sqlx::query("update watched_images set check_at = $2 where image = $1")
            .bind(image)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
    })?;
    Ok(rows > 0)
}
