//! Waves, as a caller may see them: what moved and what is built again for it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{familiar, sight::Seen};
use crate::{
    domain::{
        base_graph::Target,
        ids::{BuildId, WaveId, WaveItemId},
        repository::RepositoryName,
        rule::SourceType,
        wave::{ItemState, WaveState},
    },
    store::{BuildNumber, ItemCount, WatchKey, Wave, WaveItem, WaveMove},
    web::{Web, auth::Caller, problem::Problem},
};

/// What is said of an item that is held by one that the caller may not see.
const HELD: &str = "something that it stands on was not built";

/// A wave, with what the caller may see of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveView {
    pub id: WaveId,
    pub state: WaveState,
    pub created_at: DateTime<Utc>,
    /// Until then more moves join it.
    pub settles_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    /// How many of its builds may be under way at once; `None`: as the server is set.
    pub at_once: Option<i64>,
    /// Who paused, resumed or canceled it last.
    pub steered_by: Option<String>,
    /// What it began with.
    pub moves: Vec<MoveView>,
    /// How many items are in which state.
    pub counts: Vec<(ItemState, i64)>,
}

/// An image that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveView {
    /// Fully named.
    pub image: String,
    pub familiar: String,
    pub from: Option<String>,
    pub to: String,
    /// The build that pushed it, where that was one of ours.
    pub parent: Option<BuildId>,
}

/// A wave with its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveDetail {
    pub wave: WaveView,
    /// What its own builds pushed.
    pub pushed: Vec<MoveView>,
    /// In the order of building.
    pub items: Vec<ItemView>,
}

/// What a wave builds again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemView {
    pub id: WaveItemId,
    pub repository: RepositoryName,
    pub source_type: SourceType,
    pub source_name: String,
    /// The images that it holds now, fully named with their tags.
    pub makes: Vec<String>,
    pub state: ItemState,
    /// Why, where the state needs a word.
    pub reason: String,
    /// What is built again.
    pub last_build: BuildId,
    /// What it led to, once it is queued.
    pub build: Option<BuildNumber>,
    /// The items whose images it stands on.
    pub after: Vec<WaveItemId>,
}

/// Waves of which the caller may see something, the newest first. `before`: only those older than this one.
pub async fn waves(web: &Web, caller: &Caller, before: Option<&WaveId>, limit: u32) -> Result<Vec<WaveView>, Problem> {
    let sight = caller.sight();
    let seen = Seen::by(web, caller).await?;
    let open = web.store.open_waves().await?;
    let settling = open.iter().find(|wave| wave.state == WaveState::Settling);
    let with_settling = settling.is_some_and(|wave| wave.moves.iter().any(|moved| shows(&seen, caller, moved)));
    let waves = web.store.waves_seen((&sight, with_settling), before, limit).await?;
    let mut counts: HashMap<WaveId, Vec<(ItemState, i64)>> = HashMap::new();
    for ItemCount { wave, state, count } in web.store.count_wave_items_seen(&waves, &sight).await? {
        counts.entry(wave).or_default().push((state, count));
    }
    let mut shown = Vec::with_capacity(waves.len());
    for wave in waves {
        let counts = counts.remove(&wave.id).unwrap_or_default();
        shown.push(view(web, caller, &seen, wave, counts).await?);
    }
    Ok(shown)
}

/// A wave with its items; 404 where the caller may see nothing of it.
pub async fn wave(web: &Web, caller: &Caller, id: &str) -> Result<WaveDetail, Problem> {
    let missing = || Problem::not_found("wave");
    let wave = web.store.wave(&WaveId::from(id)).await?.ok_or_else(missing)?;
    let seen = Seen::by(web, caller).await?;
    let items = web.store.wave_items_seen(&wave.id, &caller.sight()).await?;
    let settles = wave.state == WaveState::Settling && wave.moves.iter().any(|moved| shows(&seen, caller, moved));
    if items.is_empty() && !settles && !seen.is_everything {
        return Err(missing());
    }
    let mut counts: Vec<(ItemState, i64)> = Vec::new();
    for state in ItemState::ALL {
        let count = items.iter().filter(|item| item.state == state).count();
        if count > 0 {
            counts.push((state, i64::try_from(count).unwrap_or(i64::MAX)));
        }
    }
    let ours: HashSet<&BuildId> = items.iter().filter_map(|item| item.build.as_ref()).collect();
    let inner = wave
        .moves
        .iter()
        .filter(|moved| moved.is_inner && shows(&seen, caller, moved));
    let pushed = inner
        .map(|moved| show_move(moved, moved.parent.clone().filter(|parent| ours.contains(parent))))
        .collect();
    Ok(WaveDetail {
        pushed,
        items: show_items(web, &seen, items).await?,
        wave: view(web, caller, &seen, wave, counts).await?,
    })
}

fn shows(seen: &Seen, caller: &Caller, moved: &WaveMove) -> bool {
    if seen.is_everything {
        return true;
    }
    match moved.is_inner {
        true => seen.graph.maker(&moved.image).is_some() || !seen.graph.standing_on(&moved.image).is_empty(),
        false => seen.shows(
            caller,
            &WatchKey {
                image: moved.image.clone(),
                access: moved.access.clone(),
            },
        ),
    }
}

fn show_move(moved: &WaveMove, parent: Option<BuildId>) -> MoveView {
    MoveView {
        image: moved.image.clone(),
        familiar: familiar(&moved.image),
        from: moved.from.clone(),
        to: moved.to.clone(),
        parent,
    }
}

async fn view(
    web: &Web,
    caller: &Caller,
    seen: &Seen,
    wave: Wave,
    counts: Vec<(ItemState, i64)>,
) -> Result<WaveView, Problem> {
    let moves: Vec<&WaveMove> = wave
        .moves
        .iter()
        .filter(|moved| !moved.is_inner && shows(seen, caller, moved))
        .collect();
    let parents: Vec<&BuildId> = moves.iter().filter_map(|moved| moved.parent.as_ref()).collect();
    let readable = web.store.readable_builds(&parents, &caller.sight()).await?;
    let moves = moves
        .into_iter()
        .map(|moved| show_move(moved, moved.parent.clone().filter(|parent| readable.contains(parent))))
        .collect();
    Ok(WaveView {
        id: wave.id,
        state: wave.state,
        created_at: wave.created_at,
        settles_at: wave.settles_at,
        ended_at: wave.ended_at,
        at_once: wave.at_once,
        steered_by: wave.steered_by,
        moves,
        counts,
    })
}

async fn show_items(web: &Web, seen: &Seen, items: Vec<WaveItem>) -> Result<Vec<ItemView>, Problem> {
    let visible: HashSet<WaveItemId> = items.iter().map(|item| item.id.clone()).collect();
    let ids: Vec<&BuildId> = items.iter().filter_map(|item| item.build.as_ref()).collect();
    let builds = web.store.build_numbers(&ids).await?;
    let mut builds: HashMap<BuildId, BuildNumber> = builds.into_iter().map(|build| (build.id.clone(), build)).collect();
    let makes: HashMap<_, &Target> = seen
        .graph
        .targets()
        .iter()
        .map(|target| (target.place(), target))
        .collect();
    let shown = items.into_iter().map(|item| {
        let place = (
            &item.repository_id,
            &item.rule_id,
            item.source_type,
            item.source_name.as_str(),
        );
        let is_held_by_hidden =
            item.state == ItemState::Held && item.after.iter().any(|before| !visible.contains(before));
        ItemView {
            makes: makes.get(&place).map(|target| target.makes.clone()).unwrap_or_default(),
            reason: match is_held_by_hidden {
                true => HELD.to_owned(),
                false => item.reason,
            },
            build: item.build.as_ref().and_then(|build| builds.remove(build)),
            after: item
                .after
                .into_iter()
                .filter(|before| visible.contains(before))
                .collect(),
            id: item.id,
            repository: item.repository,
            source_type: item.source_type,
            source_name: item.source_name,
            state: item.state,
            last_build: item.last_build,
        }
    });
    Ok(shown.collect())
}
