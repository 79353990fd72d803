//! The images that are watched, and one of them with its history and who stands on it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{
    familiar, full_name,
    sight::Seen,
    standing::{Comparison, Standing},
};
use crate::{
    domain::{
        access::Role,
        base_graph::{Base, Target},
        ids::{BuildId, RepositoryId, WaveId},
        repository::RepositoryName,
        rule::SourceType,
        wave::{ItemState, WaveState},
    },
    store::{ItemCount, WatchKey, WatchedImage},
    web::{Web, auth::Caller, problem::Problem},
};

/// How many versions and waves of an image are shown.
const HISTORY: u32 = 50;

/// A watched image, with how many stand on it of those that the caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    pub watched: WatchedImage,
    pub familiar: String,
    /// The repository whose builds push it, where that is one of ours.
    pub made_by: Option<RepositoryName>,
    pub repositories: usize,
    /// Refs of rules, each with its tags.
    pub targets: usize,
    /// How many of the targets stand on an old version.
    pub outdated: usize,
}

impl ImageSummary {
    /// What lists are sorted by.
    pub fn key(&self) -> String {
        let WatchKey { image, access } = &self.watched.key;
        format!("{image}\n{access}")
    }
}

/// A watched image as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageView {
    pub summary: ImageSummary,
    /// By whose other credentials the same image is watched, as far as the caller may see that: empty for the server's.
    pub other_accesses: Vec<String>,
    /// The latest first.
    pub versions: Vec<ImageVersionSeen>,
    /// By repository.
    pub standing: Vec<StandingOn>,
}

/// A digest that an image's tag has stood for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVersionSeen {
    pub digest: String,
    pub first_seen_at: DateTime<Utc>,
    pub is_current: bool,
    /// The waves that were about it, the newest first.
    pub waves: Vec<VersionWave>,
}

/// A wave that an image's new version led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionWave {
    pub id: WaveId,
    pub state: WaveState,
    /// How many of its items are in which state.
    pub counts: Vec<(ItemState, i64)>,
}

/// A ref of a rule that stands on an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingOn {
    pub repository: RepositoryName,
    pub build: BuildId,
    pub source_type: SourceType,
    pub source_name: String,
    /// The images that it holds, fully named with their tags.
    pub makes: Vec<String>,
    /// Linked by a person; else its build told of it.
    pub by_hand: bool,
    pub used: Option<String>,
    pub outdated: bool,
    pub behind_since: Option<DateTime<Utc>>,
}

/// Every watched image that the caller may see, by name. `only_outdated`: only those on whose old versions something stands.
pub async fn images(web: &Web, caller: &Caller, only_outdated: bool) -> Result<Vec<ImageSummary>, Problem> {
    let seen = Seen::by(web, caller).await?;
    let mut comparison = Comparison::new(web);
    let mut images = Vec::new();
    for watched in web.store.watched_images().await? {
        if !seen.shows(caller, &watched.key) {
            continue;
        }
        let standing = standing_on(&seen, &mut comparison, &watched).await?;
        let summary = summary(&seen, watched, &standing);
        if summary.outdated > 0 || !only_outdated {
            images.push(summary);
        }
    }
    // The databases differ in how they sort.
    images.sort_by_key(ImageSummary::key);
    Ok(images)
}

/// One watched image by its full or familiar name; 404 where the caller may not see it. `access`: by whose credentials it is
/// watched, if there are several; the server's come first.
pub async fn image(web: &Web, caller: &Caller, name: &str, access: Option<&str>) -> Result<ImageView, Problem> {
    let seen = Seen::by(web, caller).await?;
    let watches = watches(web, caller, &seen, name).await?;
    let missing = || Problem::not_found("base image");
    let wanted = |watched: &&WatchedImage| access.is_none_or(|access| watched.key.access == access);
    let watched = watches.iter().find(wanted).cloned().ok_or_else(missing)?;
    let others = watches.iter().map(|other| other.key.access.clone());
    let other_accesses = others.filter(|other| *other != watched.key.access).collect();
    let versions = versions(web, caller, &watched).await?;
    let standing = standing_on(&seen, &mut Comparison::new(web), &watched).await?;
    let mut shown: Vec<StandingOn> = standing
        .iter()
        .map(|(target, base, standing)| show(target, base, *standing))
        .collect();
    shown.sort_by(|a, b| (&a.repository, &a.source_name).cmp(&(&b.repository, &b.source_name)));
    Ok(ImageView {
        summary: summary(&seen, watched, &standing),
        other_accesses,
        versions,
        standing: shown,
    })
}

/// Has an image looked at as soon as that can be. Answers its full name.
pub async fn look_now(web: &Web, caller: &Caller, name: &str) -> Result<String, Problem> {
    let image = may_look_now(web, caller, name).await?;
    if !web.store.look_at_image_now(&image, web.clock.now()).await? {
        return Err(Problem::not_found("base image"));
    }
    web.signals.base_images_changed();
    Ok(image)
}

/// The full name of an image, if the caller may have it looked at: administrators may, and those who may write where
/// something stands on it. 401 without a credential, 404 where it may not be seen, 403 where it may only be seen.
pub async fn may_look_now(web: &Web, caller: &Caller, name: &str) -> Result<String, Problem> {
    caller.user()?;
    let seen = Seen::by(web, caller).await?;
    let watches = watches(web, caller, &seen, name).await?;
    let image = watches.into_iter().next().map(|watched| watched.key.image);
    let image = image.ok_or_else(|| Problem::not_found("base image"))?;
    let targets = seen.graph.standing_on(&image).iter();
    let may_write = targets
        .map(|&target| seen.graph.targets()[target].name.namespace())
        .any(|namespace| caller.has_role(namespace, Role::Write));
    match may_write || caller.is_admin() {
        true => Ok(image),
        false => Err(Problem::forbidden(
            "this takes the role write in a namespace of which a repository stands on the image",
        )),
    }
}

/// By whose credentials an image is watched, as far as the caller may see it.
async fn watches(web: &Web, caller: &Caller, seen: &Seen, name: &str) -> Result<Vec<WatchedImage>, Problem> {
    let missing = || Problem::not_found("base image");
    let name = full_name(name).ok_or_else(missing)?;
    let targets = seen.graph.standing_on(&name).iter();
    let bases = targets.filter_map(|&target| seen.graph.targets()[target].base(&name));
    let mut accesses: Vec<&str> = bases.map(|base| base.access.as_str()).collect();
    accesses.sort_unstable();
    accesses.dedup();
    let mut watches = Vec::new();
    for access in accesses {
        let key = WatchKey {
            image: name.clone(),
            access: access.to_owned(),
        };
        if seen.shows(caller, &key) {
            watches.extend(web.store.watched_image(&key).await?);
        }
    }
    Ok(watches)
}

async fn standing_on<'a>(
    seen: &'a Seen,
    comparison: &mut Comparison<'_>,
    watched: &WatchedImage,
) -> Result<Vec<(&'a Target, &'a Base, Standing)>, Problem> {
    let mut found = Vec::new();
    for &index in seen.graph.standing_on(&watched.key.image) {
        let target = &seen.graph.targets()[index];
        let base = target.base(&watched.key.image);
        let Some(base) = base.filter(|base| base.access == watched.key.access) else {
            continue;
        };
        let standing = match target.makes.contains(&base.image) {
            // What stands on its own image does not follow it.
            true => Standing::default(),
            false => {
                comparison
                    .of(watched, base.digest.as_deref(), (&target.build, target.started_at))
                    .await?
            }
        };
        found.push((target, base, standing));
    }
    Ok(found)
}

fn summary(seen: &Seen, watched: WatchedImage, standing: &[(&Target, &Base, Standing)]) -> ImageSummary {
    let repositories: HashSet<&RepositoryId> = standing.iter().map(|(target, ..)| &target.repository).collect();
    ImageSummary {
        familiar: familiar(&watched.key.image),
        made_by: seen.graph.maker(&watched.key.image).map(|maker| maker.name.clone()),
        repositories: repositories.len(),
        targets: standing.len(),
        outdated: standing.iter().filter(|(.., standing)| standing.outdated).count(),
        watched,
    }
}

fn show(target: &Target, base: &Base, standing: Standing) -> StandingOn {
    StandingOn {
        repository: target.name.clone(),
        build: target.build.clone(),
        source_type: target.source_type,
        source_name: target.source_name.clone(),
        makes: target.makes.clone(),
        by_hand: base.by_hand,
        used: base.digest.clone(),
        outdated: standing.outdated,
        behind_since: standing.behind_since,
    }
}

/// An image's versions with the waves that they led to, of which the caller sees an item at least.
async fn versions(web: &Web, caller: &Caller, watched: &WatchedImage) -> Result<Vec<ImageVersionSeen>, Problem> {
    let waves = web.store.waves_of_image(&watched.key, HISTORY).await?;
    let mut counts: HashMap<WaveId, Vec<(ItemState, i64)>> = HashMap::new();
    for ItemCount { wave, state, count } in web.store.count_wave_items_seen(&waves, &caller.sight()).await? {
        counts.entry(wave).or_default().push((state, count));
    }
    let led_to = |digest: &str| {
        let about = waves.iter().filter(|wave| {
            let mut moves = wave.moves.iter();
            moves.any(|moved| moved.image == watched.key.image && moved.to == digest)
        });
        let seen = about.filter(|wave| wave.state == WaveState::Settling || counts.contains_key(&wave.id));
        seen.map(|wave| VersionWave {
            id: wave.id.clone(),
            state: wave.state,
            counts: counts.get(&wave.id).cloned().unwrap_or_default(),
        })
        .collect()
    };
    let versions = web.store.image_versions(&watched.key, HISTORY).await?;
    Ok(versions
        .into_iter()
        .map(|version| ImageVersionSeen {
            is_current: watched.digest.as_deref() == Some(version.digest.as_str()),
            waves: led_to(&version.digest),
            digest: version.digest,
            first_seen_at: version.first_seen_at,
        })
        .collect())
}
