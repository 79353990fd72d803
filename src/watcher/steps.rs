//! One step of every item of a wave: follow its build, hold it, find it needless, or start it.

use std::collections::{BTreeMap, HashMap};

use super::{WatcherParts, moves};
use crate::{
    domain::{
        base_graph::{Base, Graph, Target},
        build::{Cause, Status},
        ids::{BuildId, WaveItemId},
        image::ImageReference,
        wave::{ItemState, WaveState},
    },
    intake::{IntakeError, Rebuild},
    store::{Build, StoreError, WatchKey, Wave, WaveItem, WaveMove},
};

/// Takes every item of a wave as far as it goes now.
pub(super) async fn take(parts: &WatcherParts, wave: &Wave) -> Result<(), StoreError> {
    let items = parts.store.wave_items(&wave.id).await?;
    if items.iter().all(|item| item.state.is_final()) {
        return Ok(());
    }
    // Read after the items: a build that they tell of has ended in it too.
    let mut graph = parts.store.base_graph().await?;
    for item in items.iter().filter(|item| item.state == ItemState::Building) {
        if follow_build(parts, wave, item).await? {
            graph = parts.store.base_graph().await?;
        }
    }
    // What was followed has changed both.
    let Some(wave) = parts.store.wave(&wave.id).await? else {
        return Ok(());
    };
    let items = parts.store.wave_items(&wave.id).await?;
    let mut states: HashMap<WaveItemId, (ItemState, String)> = items
        .iter()
        .map(|item| (item.id.clone(), (item.state, item.repository.to_string())))
        .collect();
    let mut building = items.iter().filter(|item| item.state == ItemState::Building).count();
    let at_once = wave
        .at_once
        .and_then(|most| usize::try_from(most).ok())
        .unwrap_or(parts.settings.at_once as usize);
    for item in items.iter().filter(|item| item.state == ItemState::Waiting) {
        let before: Vec<&(ItemState, String)> = item.after.iter().filter_map(|before| states.get(before)).collect();
        let state = if let Some((state, repository)) = before.iter().find(|(state, _)| state.holds_others()) {
            let reason = format!("it stands on {repository}, which {}", what_became(*state));
            parts.store.move_item(item, ItemState::Held, &reason, None).await?;
            ItemState::Held
        } else if before.iter().any(|(state, _)| !state.is_final()) {
            ItemState::Waiting
        } else {
            let may_start = wave.state == WaveState::Running && building < at_once;
            settle_or_start(parts, &wave, &graph, item, may_start).await?
        };
        building += usize::from(state == ItemState::Building);
        if let Some(known) = states.get_mut(&item.id) {
            known.0 = state;
        }
    }
    Ok(())
}

fn what_became(state: ItemState) -> &'static str {
    match state {
        ItemState::Canceled => "was canceled",
        ItemState::Held => "is held itself",
        _ => "failed",
    }
}

/// Follows the build that an item led to. Answers whether it succeeded, so that who stands on whom is different now.
async fn follow_build(parts: &WatcherParts, wave: &Wave, item: &WaveItem) -> Result<bool, StoreError> {
    let Some(id) = &item.build else { return Ok(false) };
    let Some(build) = parts.store.build(id).await? else {
        // It was chosen, and then the process ended: it is asked for again under the same id.
        let graph = parts.store.base_graph().await?;
        match target_of(&graph, item) {
            Some(target) => submit(parts, wave, item, target, id).await?,
            None => end_without_target(parts, item).await?,
        }
        return Ok(false);
    };
    match build.status {
        Status::Queued | Status::Running => {}
        Status::Succeeded => return succeeded(parts, wave, item, &build).await.map(|()| true),
        // Somebody else's, which came to nothing: what was to be built still is.
        Status::Failed | Status::Canceled | Status::Skipped if !is_of(wave, &build) => {
            parts.store.follow_newer(item, &item.last_build).await?;
        }
        Status::Failed => {
            let reason = build.failure.map_or_else(String::new, |failure| failure.message);
            parts
                .store
                .move_item(item, ItemState::Failed, &reason, Some(id))
                .await?;
        }
        Status::Canceled | Status::Skipped => {
            parts
                .store
                .move_item(item, ItemState::Canceled, "its build was canceled", Some(id))
                .await?;
        }
        Status::Superseded => match &build.superseded_by {
            Some(newer) => {
                let reason = "a newer build took its place";
                parts
                    .store
                    .move_item(item, ItemState::Building, reason, Some(newer))
                    .await?;
            }
            None => {
                parts
                    .store
                    .move_item(item, ItemState::Skipped, "newer builds hold its tags", Some(id))
                    .await?;
            }
        },
    }
    Ok(false)
}

/// Ends an item whose build succeeded, unless that was another's which began before the move.
async fn succeeded(parts: &WatcherParts, wave: &Wave, item: &WaveItem, build: &Build) -> Result<(), StoreError> {
    let graph = parts.store.base_graph().await?;
    let target = target_of(&graph, item);
    if let Some(target) = target
        && !is_of(wave, build)
        && !open_moves(wave, target).is_empty()
    {
        parts.store.follow_newer(item, &build.id).await?;
        return Ok(());
    }
    let before = parts.store.build(&item.last_build).await?.and_then(|last| last.digest);
    let pushed: Vec<WaveMove> = match (&build.digest, target.filter(|target| target.build == build.id)) {
        (Some(digest), Some(target)) => target
            .makes
            .iter()
            .map(|image| WaveMove {
                image: image.clone(),
                access: String::new(),
                from: before.clone(),
                to: digest.clone(),
                parent: Some(build.id.clone()),
                is_inner: true,
            })
            .collect(),
        _ => vec![],
    };
    parts.store.item_done(item, &pushed).await
}

/// Whether a build was started by this wave, and not only waited for.
fn is_of(wave: &Wave, build: &Build) -> bool {
    matches!(&build.cause, Cause::BaseImage { wave: its, .. } if *its == wave.id.as_str())
}

/// Finds an item needless, lets it wait for a build that is under way, or starts its own. Answers its state.
async fn settle_or_start(
    parts: &WatcherParts,
    wave: &Wave,
    graph: &Graph,
    item: &WaveItem,
    may_start: bool,
) -> Result<ItemState, StoreError> {
    let Some(target) = target_of(graph, item) else {
        return end_without_target(parts, item).await.map(|()| ItemState::Skipped);
    };
    let open = open_moves(wave, target);
    if open.is_empty() {
        let reason = match wave.moves.iter().any(|moved| concerns(moved, target).is_some()) {
            true => "its image stands on the new version already",
            false => "what it stands on came out the same",
        };
        parts.store.move_item(item, ItemState::Skipped, reason, None).await?;
        return Ok(ItemState::Skipped);
    }
    if !touched(parts, target, &open).await? {
        let reason = "the new version is the same for the platform that it is built for";
        parts.store.move_item(item, ItemState::Skipped, reason, None).await?;
        return Ok(ItemState::Skipped);
    }
    if let Some(under_way) = parts.store.under_way_for(item).await? {
        let reason = "a build of it was under way already";
        parts
            .store
            .move_item(item, ItemState::Building, reason, Some(&under_way))
            .await?;
        return Ok(ItemState::Building);
    }
    if !may_start {
        return Ok(ItemState::Waiting);
    }
    let id = BuildId::new();
    if parts.store.move_item(item, ItemState::Building, "", Some(&id)).await? {
        let claimed = WaveItem {
            state: ItemState::Building,
            build: Some(id.clone()),
            ..item.clone()
        };
        submit(parts, wave, &claimed, target, &id).await?;
    }
    Ok(ItemState::Building)
}

async fn end_without_target(parts: &WatcherParts, item: &WaveItem) -> Result<(), StoreError> {
    let reason = "its rule is gone, or none of its tags is left";
    parts
        .store
        .move_item(item, ItemState::Skipped, reason, item.build.as_ref())
        .await?;
    Ok(())
}

/// Queues the build of an item under the id that was chosen for it.
async fn submit(
    parts: &WatcherParts,
    wave: &Wave,
    item: &WaveItem,
    target: &Target,
    id: &BuildId,
) -> Result<(), StoreError> {
    let (Some(found), Some(last)) = (
        parts.store.repository(&item.repository_id).await?,
        parts.store.build(&target.build).await?,
    ) else {
        return end_without_target(parts, item).await;
    };
    let Some(cause) = cause(wave, target) else {
        // What it was to follow was dealt with meanwhile: the next pass sees that.
        parts.store.follow_newer(item, &target.build).await?;
        return Ok(());
    };
    let rebuild = Rebuild {
        id: id.clone(),
        cause,
        base_digests: exact_bases(wave, target),
    };
    match parts.intake.rebuild(&found.repository, &last, rebuild).await {
        Ok(accepted) => {
            let queued = accepted.queued.iter().any(|queued| queued.id == *id);
            if let Some(other) = accepted.builds.first().filter(|_| !queued) {
                let reason = "a build of it was under way already";
                parts
                    .store
                    .move_item(item, ItemState::Building, reason, Some(other))
                    .await?;
            }
        }
        Err(IntakeError::Refused(reason)) => {
            parts
                .store
                .move_item(item, ItemState::Skipped, &reason, Some(id))
                .await?;
        }
        // Deleted with everything that was to be done for it.
        Err(IntakeError::Gone) => {}
        // It is asked for again in the next pass.
        Err(IntakeError::Overloaded(error)) => tracing::warn!(%error, build = %id, "failed to queue a rebuild"),
    }
    Ok(())
}

/// What an item rebuilds, as it is by now.
fn target_of<'a>(graph: &'a Graph, item: &WaveItem) -> Option<&'a Target> {
    let place = (
        &item.repository_id,
        &item.rule_id,
        item.source_type,
        item.source_name.as_str(),
    );
    // Of several that hold tags, the newest is the one to build again.
    graph
        .targets()
        .iter()
        .filter(|target| target.place() == place)
        .max_by_key(|target| &target.build)
}

/// The base of a target that a move is about.
fn concerns<'a>(moved: &WaveMove, target: &'a Target) -> Option<&'a Base> {
    let base = target.base(&moved.image)?;
    (moved.is_inner || base.access == moved.access).then_some(base)
}

/// The moves that a target has not followed yet, those from outside first.
fn open_moves<'a>(wave: &'a Wave, target: &Target) -> Vec<&'a WaveMove> {
    let is_open = |moved: &&WaveMove| match concerns(moved, target) {
        None => false,
        Some(Base { digest: Some(used), .. }) => *used != moved.to,
        // Linked by hand, and its build does not tell of it: what counts is when it was built.
        Some(Base { digest: None, .. }) => target.started_at < wave.created_at,
    };
    wave.moves.iter().filter(is_open).collect()
}

/// Whether one of these moves changes anything for the platform of a target.
async fn touched(parts: &WatcherParts, target: &Target, open: &[&WaveMove]) -> Result<bool, StoreError> {
    let platform = parts
        .store
        .build(&target.build)
        .await?
        .and_then(|build| build.plan.platforms.into_iter().next());
    for moved in open {
        let used = target.base(&moved.image).and_then(|base| base.digest.as_deref());
        let key = WatchKey {
            image: moved.image.clone(),
            access: moved.access.clone(),
        };
        // What we pushed ourselves is of one platform.
        if moved.is_inner || moves::touches(parts, &key, used, &moved.to, platform.as_deref()).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The exact images that a target is to be built on: every one of its bases that moved in this wave.
fn exact_bases(wave: &Wave, target: &Target) -> BTreeMap<String, String> {
    let concerned = wave.moves.iter().filter(|moved| concerns(moved, target).is_some());
    concerned.map(|moved| (moved.image.clone(), moved.to.clone())).collect()
}

fn cause(wave: &Wave, target: &Target) -> Option<Cause> {
    let moved = *open_moves(wave, target).first()?;
    let used = target.base(&moved.image).and_then(|base| base.digest.clone());
    Some(Cause::BaseImage {
        image: ImageReference::parse(&moved.image).map_or_else(|_| moved.image.clone(), |image| image.to_string()),
        from: used.or_else(|| moved.from.clone()),
        to: moved.to.clone(),
        parent: moved.parent.as_ref().map(BuildId::to_string),
        wave: wave.id.to_string(),
    })
}
