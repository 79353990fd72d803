//! Waves as they are stored: what moved, what is rebuilt for it, and who steers them.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Handle, Store, StoreError, Tx, WatchKey, from_json, known, on};
use crate::domain::{
    ids::{BuildId, RepositoryId, RuleId, WaveId, WaveItemId},
    repository::{RepositoryName, Visibility},
    rule::SourceType,
    wave::{ItemState, WaveState},
};

/// How often a wave that settles may be put off again by more moves, in pauses.
const LONGEST_SETTLING: i32 = 10;

/// A wave, with the images whose moves it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wave {
    pub id: WaveId,
    pub state: WaveState,
    pub created_at: DateTime<Utc>,
    pub settles_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// How many of its builds may be under way at once; `None`: as the server is set.
    pub at_once: Option<i64>,
    /// Who paused, resumed or canceled it last.
    pub steered_by: Option<String>,
    /// What it began with first, then what its own builds pushed.
    pub moves: Vec<WaveMove>,
}

/// An image that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveMove {
    pub image: String,
    /// By whose credentials it was seen; see [`WatchKey::access`].
    pub access: String,
    pub from: Option<String>,
    pub to: String,
    /// The build that pushed it, where that was one of ours.
    pub parent: Option<BuildId>,
    /// Pushed by a build of the wave itself.
    pub is_inner: bool,
}

/// What a wave rebuilds: a ref of a rule, as it was last built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveItem {
    pub id: WaveItemId,
    pub wave: WaveId,
    pub position: i64,
    pub repository_id: RepositoryId,
    pub repository: RepositoryName,
    pub visibility: Visibility,
    pub rule_id: RuleId,
    pub source_type: SourceType,
    pub source_name: String,
    /// What is built again.
    pub last_build: BuildId,
    pub state: ItemState,
    /// Why, where the state needs a word.
    pub reason: String,
    /// What it led to.
    pub build: Option<BuildId>,
    /// The items whose images it stands on.
    pub after: Vec<WaveItemId>,
}

/// How many items of a wave are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemCount {
    pub wave: WaveId,
    pub state: ItemState,
    pub count: i64,
}

#[derive(sqlx::FromRow)]
pub(super) struct WaveRow {
    id: String,
    state: String,
    created_at: DateTime<Utc>,
    settles_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    at_once: Option<i64>,
    steered_by: Option<String>,
}

#[derive(sqlx::FromRow)]
struct MoveRow {
    image: String,
    access: String,
    from_digest: Option<String>,
    to_digest: String,
    parent_build: Option<String>,
    inner_move: bool,
}

#[derive(sqlx::FromRow)]
pub(super) struct ItemRow {
    id: String,
    wave_id: String,
    position: i64,
    repository_id: String,
    namespace: String,
    name: String,
    visibility: String,
    rule_id: String,
    source_type: String,
    source_name: String,
    last_build: String,
    state: String,
    reason: String,
    build_id: Option<String>,
    after_items: String,
}

impl TryFrom<ItemRow> for WaveItem {
    type Error = StoreError;

    fn try_from(row: ItemRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id.into(),
            wave: row.wave_id.into(),
            position: row.position,
            repository_id: row.repository_id.into(),
            repository: RepositoryName::new(&row.namespace, &row.name)
                .map_err(|invalid| StoreError::Corrupt(invalid.to_string()))?,
            visibility: known("visibility", &row.visibility, Visibility::parse)?,
            rule_id: row.rule_id.into(),
            source_type: known("source type", &row.source_type, SourceType::parse)?,
            source_name: row.source_name,
            last_build: row.last_build.into(),
            state: known("state of an item", &row.state, ItemState::parse)?,
            reason: row.reason,
            build: row.build_id.map(BuildId::from),
            after: from_json("items before", &row.after_items)?,
        })
    }
}

macro_rules! select_waves {
    ($rest:literal) => {
        concat!(
            "select id, state, created_at, settles_at, ended_at, at_once, steered_by from waves ",
            $rest
        )
    };
}
pub(super) use select_waves;

macro_rules! select_items {
    ($rest:literal) => {
        concat!(
            "select i.id, i.wave_id, i.position, i.repository_id, r.namespace, r.name, r.visibility, i.rule_id, \
             i.source_type, i.source_name, i.last_build, i.state, i.reason, i.build_id, i.after_items \
             from wave_items i join repositories r on r.id = i.repository_id ",
            $rest
        )
    };
}
pub(super) use select_items;

impl Store {
    /// Makes a move part of the wave that settles, or of a new one, unless an open wave carries it already. It settles a pause later; more moves put that off, up
    /// to ten pauses.
    pub async fn add_move(&self, moved: &WaveMove, pause: TimeDelta, now: DateTime<Utc>) -> Result<WaveId, StoreError> {
        let mut tx = self.begin().await?;
        // Of two processes, the second waits here for the first and joins its wave.
        on!(tx.handle(), c => {
            sqlx::query(
                "insert into waves (id, state, created_at, settles_at) values ($1, 'settling', $2, $3) \
                 on conflict (state) where state = 'settling' do nothing",
            )
            .bind(WaveId::new().as_str())
            .bind(now)
            .bind(now + pause)
            .execute(c)
            .await
            .map(drop)
        })?;
        // Seen by another look, or another server, which was faster: a wave carries it already.
        let carried: Option<String> = on!(tx.handle(), c => {
            sqlx::query_scalar(
                "select w.id from wave_moves m join waves w on w.id = m.wave_id where m.image = $1 and m.access = $2 \
                 and m.to_digest = $3 and not m.inner_move and w.ended_at is null and w.state <> 'settling' limit 1",
            )
            .bind(&moved.image)
            .bind(&moved.access)
            .bind(&moved.to)
            .fetch_optional(c)
            .await
        })?;
        if let Some(wave) = carried {
            return Ok(wave.into());
        }
        let row: WaveRow = on!(tx.handle(), c => {
            sqlx::query_as(select_waves!("where state = 'settling'")).fetch_one(c).await
        })?;
        let settles_at = (now + pause)
            .min(row.created_at + pause * LONGEST_SETTLING)
            .max(row.settles_at);
        on!(tx.handle(), c => {
            sqlx::query("update waves set settles_at = $2 where id = $1").bind(&row.id).bind(settles_at).execute(c).await.map(drop)
        })?;
        let wave = WaveId::from(row.id);
        write_move(&mut tx, &wave, moved).await?;
        tx.commit().await?;
        Ok(wave)
    }

    /// The waves that have not ended, oldest first.
    pub async fn open_waves(&self) -> Result<Vec<Wave>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<WaveRow> = on!(reader.handle(), c => {
            sqlx::query_as(select_waves!("where ended_at is null order by id")).fetch_all(c).await
        })?;
        complete(reader.handle(), rows).await
    }

    pub async fn wave(&self, id: &WaveId) -> Result<Option<Wave>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<WaveRow> = on!(reader.handle(), c => {
            sqlx::query_as(select_waves!("where id = $1")).bind(id.as_str()).fetch_all(c).await
        })?;
        Ok(complete(reader.handle(), rows).await?.pop())
    }

    /// The waves that were about an image's new versions, the newest first.
    pub async fn waves_of_image(&self, key: &WatchKey, limit: u32) -> Result<Vec<Wave>, StoreError> {
        let mut reader = self.reader().await?;
        let rows: Vec<WaveRow> = on!(reader.handle(), c => {
            sqlx::query_as(select_waves!(
                "where id in (select wave_id from wave_moves where image = $1 and (access = $2 or inner_move)) \
                 order by id desc limit $3"
            ))
            .bind(&key.image)
            .bind(&key.access)
            .bind(i64::from(limit))
            .fetch_all(c)
            .await
        })?;
        complete(reader.handle(), rows).await
    }

    /// What a wave rebuilds, in the order of building.
    pub async fn wave_items(&self, wave: &WaveId) -> Result<Vec<WaveItem>, StoreError> {
        let mut reader = self.reader().await?;
        items(reader.handle(), wave).await
    }

    /// The item that a build was started for.
    pub async fn wave_item_of(&self, build: &BuildId) -> Result<Option<WaveItem>, StoreError> {
        let mut reader = self.reader().await?;
        let row: Option<ItemRow> = on!(reader.handle(), c => {
            sqlx::query_as(select_items!("where i.build_id = $1 order by i.id desc limit 1"))
                .bind(build.as_str())
                .fetch_optional(c)
                .await
        })?;
        row.map(WaveItem::try_from).transpose()
    }

    /// Moves an item on, if it is still as it was read; `false`: somebody else has moved it meanwhile.
    pub async fn move_item(
        &self,
        item: &WaveItem,
        state: ItemState,
        reason: &str,
        build: Option<&BuildId>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let moved = move_item(&mut tx, item, state, reason, build).await?;
        tx.commit().await?;
        Ok(moved)
    }

    /// Takes another build for what an item builds again.
    pub async fn follow_newer(&self, item: &WaveItem, newer: &BuildId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = on!(tx.handle(), c => {
            sqlx::query(
                "update wave_items set last_build = $3, state = 'waiting', build_id = null, reason = '' \
                 where id = $1 and state = $2",
            )
            .bind(item.id.as_str())
            .bind(item.state.as_str())
            .bind(newer.as_str())
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(done == 1)
    }

    /// Ends an item whose image stands on the new version, with what it pushed.
    pub async fn item_done(&self, item: &WaveItem, pushed: &[WaveMove]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if move_item(&mut tx, item, ItemState::Done, "", item.build.as_ref()).await? {
            for moved in pushed {
                write_move(&mut tx, &item.wave, moved).await?;
            }
        }
        tx.commit().await
    }

    /// Ends a wave in which nothing is left to do.
    pub async fn end_wave_if_done(&self, wave: &WaveId, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let ended = on!(tx.handle(), c => {
            sqlx::query(
                "update waves set state = case when state = 'canceled' then state else 'done' end, ended_at = $2 \
                 where id = $1 and ended_at is null and state <> 'settling' and not exists \
                 (select 1 from wave_items where wave_id = $1 and state in ('waiting', 'building'))",
            )
            .bind(wave.as_str())
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(ended == 1)
    }

    /// Pauses a running wave, or resumes a paused one; `false`: it is not in such a state.
    pub async fn pause_wave(&self, wave: &WaveId, pause: bool, by: &str) -> Result<bool, StoreError> {
        let (from, to) = match pause {
            true => ("running", "paused"),
            false => ("paused", "running"),
        };
        let mut tx = self.begin().await?;
        let done = on!(tx.handle(), c => {
            sqlx::query("update waves set state = $3, steered_by = $4 where id = $1 and state = $2")
                .bind(wave.as_str())
                .bind(from)
                .bind(to)
                .bind(by)
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(done == 1)
    }

    /// Bounds how many builds of an open wave may be under way at once; `None`: as the server is set.
    pub async fn throttle_wave(&self, wave: &WaveId, at_once: Option<i64>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = on!(tx.handle(), c => {
            sqlx::query("update waves set at_once = $2 where id = $1 and ended_at is null")
                .bind(wave.as_str())
                .bind(at_once)
                .execute(c)
                .await
                .map(|done| done.rows_affected())
        })?;
        tx.commit().await?;
        Ok(done == 1)
    }

    /// Cancels an open wave: what waits is not built. Answers the builds that are under way, for the caller to cancel;
    /// `None`: it has ended already.
    pub async fn cancel_wave(
        &self,
        wave: &WaveId,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Vec<BuildId>>, StoreError> {
        let mut tx = self.begin().await?;
        let done = on!(tx.handle(), c => {
            sqlx::query(
                "update waves set state = 'canceled', steered_by = $2, \
                 ended_at = case when state = 'settling' then $3 else ended_at end where id = $1 and ended_at is null",
            )
            .bind(wave.as_str())
            .bind(by)
            .bind(now)
            .execute(c)
            .await
            .map(|done| done.rows_affected())
        })?;
        if done == 0 {
            return Ok(None);
        }
        on!(tx.handle(), c => {
            sqlx::query("update wave_items set state = 'canceled', reason = $2 where wave_id = $1 and state = 'waiting'")
                .bind(wave.as_str())
                .bind(format!("the wave was canceled by {by}"))
                .execute(c)
                .await
                .map(drop)
        })?;
        let building: Vec<String> = on!(tx.handle(), c => {
            sqlx::query_scalar(
                "select i.build_id from wave_items i join builds b on b.id = i.build_id \
                 where i.wave_id = $1 and i.state = 'building' and b.cause_kind = 'base_image'",
            )
            .bind(wave.as_str())
            .fetch_all(c)
            .await
        })?;
        tx.commit().await?;
        Ok(Some(building.into_iter().map(BuildId::from).collect()))
    }
}

pub(super) async fn items(handle: Handle<'_>, wave: &WaveId) -> Result<Vec<WaveItem>, StoreError> {
    let rows: Vec<ItemRow> = on!(handle, c => {
        sqlx::query_as(select_items!("where i.wave_id = $1 order by i.position, i.id"))
            .bind(wave.as_str())
            .fetch_all(c)
            .await
    })?;
    rows.into_iter().map(WaveItem::try_from).collect()
}

pub(super) async fn complete(mut handle: Handle<'_>, rows: Vec<WaveRow>) -> Result<Vec<Wave>, StoreError> {
    let mut waves = Vec::with_capacity(rows.len());
    for row in rows {
        let moves: Vec<MoveRow> = on!(handle.reborrow(), c => {
            sqlx::query_as(
                "select image, access, from_digest, to_digest, parent_build, inner_move from wave_moves \
                 where wave_id = $1 order by inner_move, image, access",
            )
            .bind(&row.id)
            .fetch_all(c)
            .await
        })?;
        waves.push(Wave {
            id: row.id.into(),
            state: known("state of a wave", &row.state, WaveState::parse)?,
            created_at: row.created_at,
            settles_at: row.settles_at,
            ended_at: row.ended_at,
            at_once: row.at_once,
            steered_by: row.steered_by,
            moves: moves
                .into_iter()
                .map(|row| WaveMove {
                    image: row.image,
                    access: row.access,
                    from: row.from_digest,
                    to: row.to_digest,
                    parent: row.parent_build.map(BuildId::from),
                    is_inner: row.inner_move,
                })
                .collect(),
        });
    }
    Ok(waves)
}

/// A later move of the same image takes the place of an earlier one; where it came from at first stays.
async fn write_move(tx: &mut Tx, wave: &WaveId, moved: &WaveMove) -> Result<(), StoreError> {
    on!(tx.handle(), c => {
        sqlx::query(
            "insert into wave_moves (wave_id, image, access, from_digest, to_digest, parent_build, inner_move) \
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (wave_id, image, access) do update set \
             to_digest = excluded.to_digest, parent_build = excluded.parent_build",
        )
        .bind(wave.as_str())
        .bind(&moved.image)
        .bind(&moved.access)
        .bind(moved.from.as_deref())
        .bind(&moved.to)
        .bind(moved.parent.as_ref().map(BuildId::as_str))
        .bind(moved.is_inner)
        .execute(c)
        .await
        .map(drop)
    })?;
    Ok(())
}

pub(super) async fn move_item(
    tx: &mut Tx,
    item: &WaveItem,
    state: ItemState,
    reason: &str,
    build: Option<&BuildId>,
) -> Result<bool, StoreError> {
    let moved = on!(tx.handle(), c => {
        sqlx::query(
            "update wave_items set state = $4, reason = $5, build_id = $6 \
             where id = $1 and state = $2 and coalesce(build_id, '') = $3",
        )
        .bind(item.id.as_str())
        .bind(item.state.as_str())
        .bind(item.build.as_ref().map_or("", BuildId::as_str))
        .bind(state.as_str())
        .bind(reason)
        .bind(build.map(BuildId::as_str))
        .execute(c)
        .await
        .map(|done| done.rows_affected())
    })?;
    Ok(moved == 1)
}
