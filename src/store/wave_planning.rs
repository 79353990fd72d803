//! From a move to what is rebuilt for it: who stands on an old version, and what a wave is made of once it has settled.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{Handle, Store, StoreError, Tx, WatchKey, WaveItem, base_graph, on, repository_bases, to_json, waves};
use crate::domain::{
    base_graph::{Graph, Moved, Target},
    ids::{BuildId, WaveId, WaveItemId},
    wave::ItemState,
};

/// Something that stands on an old version of an image and that no wave has dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outdated {
    /// The build that holds its tags.
    pub build: BuildId,
    /// The digest that it was built on, where it is known.
    pub used: Option<String>,
    /// The one that its rule names; `None`: the engine's own.
    pub platform: Option<String>,
}

/// A wave that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunWave {
    /// How many rebuilds it may lead to.
    pub items: usize,
    /// Builds of older waves that it makes needless, for the caller to cancel where they have not started.
    pub needless: Vec<BuildId>,
}

type Place = (String, String, String, String);

impl Store {
    /// Who stands on another version of an image than the one that its tag stands for now, without those that a wave has
    /// dealt with, whatever came of it: a digest leads to one rebuild of each at most.
    pub async fn outdated_on(&self, key: &WatchKey, digest: &str) -> Result<Vec<Outdated>, StoreError> {
        let mut reader = self.reader().await?;
        let moved = moved_at(reader.handle(), key, digest).await?;
        // Nearly always nobody does, and that is known without the whole graph.
        if !may_be_outdated(reader.handle(), &key.image, digest, moved.is_some()).await?
            || carried_on(reader.handle(), &key.image, digest).await?
        {
            return Ok(vec![]);
        }
        let graph = base_graph::graph_above(reader.handle(), &[&key.image]).await?;
        let dealt_with = dealt_with(reader.handle(), &key.image, digest).await?;
        let standing = graph.standing_on(&key.image);
        let mut outdated = Vec::new();
        for target in standing.iter().map(|&target| &graph.targets()[target]) {
            let Some(base) = target.base(&key.image).filter(|base| base.access == key.access) else {
                continue;
            };
            let is_outdated = match &base.digest {
                Some(used) => used != digest,
                // Linked by hand, and the build does not tell of it: what counts is that it moved after the build.
                None => moved.is_some_and(|moved| moved > target.started_at),
            };
            if is_outdated && !dealt_with.contains(&place(target)) && graph.maker(&key.image) != Some(target) {
                let platform = repository_bases::platform_of(reader.handle(), &target.build).await?;
                outdated.push(Outdated {
                    build: target.build.clone(),
                    used: base.digest.clone(),
                    platform,
                });
            }
        }
        Ok(outdated)
    }

    /// The build of ours that pushed an image with this digest.
    pub async fn pusher_of(&self, image: &str, digest: &str) -> Result<Option<BuildId>, StoreError> {
        let mut reader = self.reader().await?;
        pusher(reader.handle(), image, digest).await
    }

    /// Begins the wave that settles, if its time has come. What older waves have still to do for the same is left to it. One
    /// that nobody needs any more is forgotten.
    pub async fn begin_settled_wave(&self, now: DateTime<Utc>) -> Result<Option<(WaveId, BegunWave)>, StoreError> {
        let mut tx = self.begin().await?;
        // Touching the row locks it on PostgreSQL: one process alone begins it.
        let id: Option<String> = on!(tx.handle(), c => {
            sqlx::query_scalar(
                "update waves set state = 'running' where state = 'settling' and settles_at <= $1 returning id",
            )
            .bind(now)
            .fetch_optional(c)
            .await
        })?;
        let Some(id) = id.map(WaveId::from) else {
            return Ok(None);
        };
        let moves: Vec<(String, String, String)> = on!(tx.handle(), c => {
            sqlx::query_as("select image, access, to_digest from wave_moves where wave_id = $1 order by image, access")
                .bind(id.as_str())
                .fetch_all(c)
                .await
        })?;
        let moved: Vec<Moved<'_>> = moves
            .iter()
            .map(|(image, access, to)| Moved { image, access, to })
            .collect();
        let images: Vec<&str> = moved.iter().map(|moved| moved.image).collect();
        let graph = base_graph::graph_above(tx.handle(), &images).await?;
        // Another server may have seen a move too, and added it after the wave of it had begun.
        let mut known = HashMap::new();
        for moved in &moved {
            known.insert(moved.image, dealt_with(tx.handle(), moved.image, moved.to).await?);
        }
        let follows = |moved: &Moved<'_>, target: &Target| !known[moved.image].contains(&place(target));
        let consequences = graph.consequences_for(&moved, follows);
        if consequences.items.is_empty() {
            delete(&mut tx, &id).await?;
        }
        let needless = take_over(&mut tx, &id, &graph, consequences.items.iter().map(|item| item.target)).await?;
        let ids: Vec<WaveItemId> = consequences.items.iter().map(|_| WaveItemId::new()).collect();
        for (position, item) in consequences.items.iter().enumerate() {
            let target = &graph.targets()[item.target];
            let after: Vec<&WaveItemId> = item.after.iter().map(|&before| &ids[before]).collect();
            let (state, reason) = match &item.cut {
                None => (ItemState::Waiting, String::new()),
                Some(image) => (
                    ItemState::Skipped,
                    format!("it stands on {image}, which stands on it in turn: the circle is cut here"),
                ),
            };
            insert_item(
                &mut tx,
                &id,
                (&ids[position], position),
                target,
                (state, &reason),
                &to_json(&after)?,
            )
            .await?;
        }
        tx.commit().await?;
        Ok(Some((
            id,
            BegunWave {
                items: consequences.items.len(),
                needless,
            },
        )))
    }

    /// The newest build of what an item rebuilds that is queued or running.
    pub async fn under_way_for(&self, item: &WaveItem) -> Result<Option<BuildId>, StoreError> {
        let mut reader = self.reader().await?;
        let id: Option<String> = on!(reader.handle(), c => {
            sqlx::query_scalar(
                "select id from builds where repository_id = $1 and rule_id = $2 and source_name = $3 \
                 and source_type = $4 and status in ('queued', 'running') and not cancel_requested \
                 order by push_order desc, id desc limit 1",
            )
            .bind(item.repository_id.as_str())
            .bind(item.rule_id.as_str())
            .bind(&item.source_name)
            .bind(item.source_type.as_str())
            .fetch_optional(c)
            .await
        })?;
        Ok(id.map(BuildId::from))
    }

    /// The platforms that workers build for by themselves; an empty one: a worker has not said.
    pub async fn worker_platforms(&self, since: DateTime<Utc>) -> Result<Vec<String>, StoreError> {
        let mut reader = self.reader().await?;
        Ok(on!(reader.handle(), c => {
            sqlx::query_scalar(
                "select distinct platform from workers where concurrency > 0 and last_seen_at >= $1 order by platform",
            )
            .bind(since)
            .fetch_all(c)
            .await
        })?)
    }
}

fn place(target: &Target) -> Place {
    let (repository, rule, source_type, source_name) = target.place();
    (
        repository.to_string(),
        rule.to_string(),
        source_type.as_str().to_owned(),
        source_name.to_owned(),
    )
}

/// What waves have dealt with for this digest of an image.
async fn dealt_with(handle: Handle<'_>, image: &str, digest: &str) -> Result<HashSet<Place>, StoreError> {
    let rows: Vec<Place> = on!(handle, c => {
        sqlx::query_as(
            "select i.repository_id, i.rule_id, i.source_type, i.source_name from wave_moves m \
             join wave_items i on i.wave_id = m.wave_id where m.image = $1 and m.to_digest = $2",
        )
        .bind(image)
        .bind(digest)
        .fetch_all(c)
        .await
    })?;
    Ok(rows.into_iter().collect())
}

/// Whether anybody may stand on another version.
async fn may_be_outdated(handle: Handle<'_>, image: &str, digest: &str, has_moved: bool) -> Result<bool, StoreError> {
    let found: Option<String> = on!(handle, c => {
        sqlx::query_scalar(
            "select image from build_bases where image = $1 and not pinned and digest <> $2 \
             union all select image from links where image = $1 and $3 limit 1",
        )
        .bind(image)
        .bind(digest)
        .bind(has_moved)
        .fetch_optional(c)
        .await
    })?;
    Ok(found.is_some())
}

/// Whether what an image stands for now was pushed by a build of a wave that has not ended: that wave goes on with it.
async fn carried_on(mut handle: Handle<'_>, image: &str, digest: &str) -> Result<bool, StoreError> {
    let Some(build) = pusher(handle.reborrow(), image, digest).await? else {
        return Ok(false);
    };
    let wave: Option<String> = on!(handle, c => {
        sqlx::query_scalar(
            "select w.id from wave_items i join waves w on w.id = i.wave_id \
             where i.build_id = $1 and w.ended_at is null limit 1",
        )
        .bind(build.as_str())
        .fetch_optional(c)
        .await
    })?;
    Ok(wave.is_some())
}

/// When an image moved to this digest from another; `None`: no other was ever seen.
async fn moved_at(handle: Handle<'_>, key: &WatchKey, digest: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(on!(handle, c => {
        sqlx::query_scalar(
            "select v.first_seen_at from image_versions v where v.image = $1 and v.access = $2 and v.digest = $3 \
             and exists (select 1 from image_versions o where o.image = $1 and o.access = $2 \
             and o.first_seen_at < v.first_seen_at)",
        )
        .bind(&key.image)
        .bind(&key.access)
        .bind(digest)
        .fetch_optional(c)
        .await
    })?)
}

async fn pusher(handle: Handle<'_>, image: &str, digest: &str) -> Result<Option<BuildId>, StoreError> {
    let Some((name, tag)) = image.rsplit_once(':') else {
        return Ok(None);
    };
    let id: Option<String> = on!(handle, c => {
        sqlx::query_scalar("select newest_build from published_tags where image = $1 and tag = $2 and digest = $3")
            .bind(name)
            .bind(tag)
            .bind(digest)
            .fetch_optional(c)
            .await
    })?;
    Ok(id.map(BuildId::from))
}

/// Leaves to a new wave what open ones have still to do for the same targets. Answers the builds that this makes needless.
async fn take_over(
    tx: &mut Tx,
    wave: &WaveId,
    graph: &Graph,
    targets: impl Iterator<Item = usize>,
) -> Result<Vec<BuildId>, StoreError> {
    let wanted: HashSet<Place> = targets.map(|target| place(&graph.targets()[target])).collect();
    let open: Vec<String> = on!(tx.handle(), c => {
        sqlx::query_scalar("select id from waves where ended_at is null and id <> $1 and state <> 'settling'")
            .bind(wave.as_str())
            .fetch_all(c)
            .await
    })?;
    let mut needless = Vec::new();
    for open in open.into_iter().map(WaveId::from) {
        for item in waves::items(tx.handle(), &open).await? {
            let its_place = (
                item.repository_id.to_string(),
                item.rule_id.to_string(),
                item.source_type.as_str().to_owned(),
                item.source_name.clone(),
            );
            if item.state.is_final() || !wanted.contains(&its_place) {
                continue;
            }
            needless.extend(item.build.clone());
            let build = item.build.clone();
            waves::move_item(tx, &item, ItemState::Skipped, "left to a newer wave", build.as_ref()).await?;
        }
    }
    Ok(needless)
}

async fn delete(tx: &mut Tx, wave: &WaveId) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query("delete from waves where id = $1").bind(wave.as_str()).execute(c).await.map(drop)
    })?;
    Ok(())
}

async fn insert_item(
    tx: &mut Tx,
    wave: &WaveId,
    (id, position): (&WaveItemId, usize),
    target: &Target,
    (state, reason): (ItemState, &str),
    after: &str,
) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query(
            "insert into wave_items (id, wave_id, position, repository_id, rule_id, source_type, source_name, last_build, \
             state, reason, after_items) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(id.as_str())
        .bind(wave.as_str())
        .bind(position as i64)
        .bind(target.repository.as_str())
        .bind(target.rule.as_str())
        .bind(target.source_type.as_str())
        .bind(&target.source_name)
        .bind(target.build.as_str())
        .bind(state.as_str())
        .bind(reason)
        .bind(after)
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(())
}
