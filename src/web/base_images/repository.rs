//! What one repository stands on.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{
    familiar,
    sight::may_see_access,
    standing::{Comparison, Standing},
};
use crate::{
    domain::{
        ids::{BuildId, RuleId},
        repository::Repository,
        rule::SourceType,
    },
    store::{BuiltTarget, WatchedImage},
    web::{Web, auth::Caller, problem::Problem},
};

/// An image that a repository stands on, whether it follows its moves or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryBase {
    /// Fully named.
    pub image: String,
    pub familiar: String,
    /// A build that holds tags used it.
    pub detected: bool,
    /// Linked by hand.
    pub linked: bool,
    /// Switched off by hand.
    pub ignored: bool,
    /// Named by digest wherever it is used, so that it never moves.
    pub pinned: bool,
    /// Whether a move leads to builds: linked, or detected where that counts, and neither switched off nor pinned.
    pub is_followed: bool,
    pub watch: Watch,
    /// What was built on it.
    pub uses: Vec<BaseUse>,
}

impl RepositoryBase {
    pub fn is_outdated(&self) -> bool {
        self.uses.iter().any(|used| used.outdated)
    }

    /// Since when the first of what was built on it is behind.
    pub fn behind_since(&self) -> Option<DateTime<Utc>> {
        self.uses.iter().filter_map(|used| used.behind_since).min()
    }
}

/// How an image is watched for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watch {
    /// As it was last seen, or is about to be seen for the first time.
    Watched(WatchedImage),
    /// Nothing was built yet that stands on it: it is watched once something is.
    NotYet,
    /// Its moves are not followed, and nobody else follows them by the same credentials.
    Never,
    /// It is looked at with credentials of the namespace, which the caller may not read.
    Hidden,
}

impl Watch {
    pub fn watched(&self) -> Option<&WatchedImage> {
        match self {
            Self::Watched(watched) => Some(watched),
            Self::NotYet | Self::Never | Self::Hidden => None,
        }
    }
}

/// A ref of a rule that was built on an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUse {
    pub build: BuildId,
    pub rule: RuleId,
    pub source_type: SourceType,
    pub source_name: String,
    /// The images that it holds, fully named with their tags.
    pub makes: Vec<String>,
    /// The digest that it was built on; `None`: its build does not tell of it.
    pub used: Option<String>,
    /// Named by digest.
    pub pinned: bool,
    /// The image stands for something else now.
    pub outdated: bool,
    pub behind_since: Option<DateTime<Utc>>,
}

/// Each image that a repository stands on, by name. That the repository may be seen has been decided.
pub async fn of_repository(
    web: &Web,
    caller: &Caller,
    repository: &Repository,
) -> Result<Vec<RepositoryBase>, Problem> {
    let stored = web.store.repository_bases(&repository.id).await?;
    let mut bases: BTreeMap<&str, RepositoryBase> = BTreeMap::new();
    // Pinned is what is so wherever it is used.
    let detected = stored.targets.iter().flat_map(|target| &target.detected);
    for base in detected {
        let entry = entry(&mut bases, repository, &base.name);
        entry.detected = true;
        entry.pinned = entry.pinned && is_pinned(&base.name, base.pinned);
    }
    for image in &repository.links {
        let entry = entry(&mut bases, repository, image);
        entry.pinned = is_pinned(image, false);
        entry.linked = true;
    }
    for image in &repository.ignored_base_images {
        let entry = entry(&mut bases, repository, image);
        if !entry.detected && !entry.linked {
            entry.pinned = is_pinned(image, false);
        }
        entry.ignored = true;
    }
    let mut comparison = Comparison::new(web);
    let mut shown = Vec::with_capacity(bases.len());
    for mut base in bases.into_values() {
        let counts = base.linked || (base.detected && repository.detect_base_images);
        base.is_followed = counts && !base.ignored && !base.pinned;
        base.watch = match stored.watched.iter().find(|watched| watched.key.image == base.image) {
            Some(watched) if !may_see_access(caller, &watched.key.access) => Watch::Hidden,
            Some(watched) => Watch::Watched(watched.clone()),
            None if base.is_followed => Watch::NotYet,
            None => Watch::Never,
        };
        for target in &stored.targets {
            base.uses.extend(used_by(&mut comparison, &base, target).await?);
        }
        shown.push(base);
    }
    Ok(shown)
}

fn entry<'a, 'b>(
    bases: &'b mut BTreeMap<&'a str, RepositoryBase>,
    repository: &Repository,
    image: &'a str,
) -> &'b mut RepositoryBase {
    bases.entry(image).or_insert_with(|| RepositoryBase {
        image: image.to_owned(),
        familiar: familiar(image),
        detected: false,
        linked: false,
        ignored: repository.ignored_base_images.iter().any(|ignored| ignored == image),
        pinned: true,
        is_followed: false,
        watch: Watch::Never,
        uses: vec![],
    })
}

fn is_pinned(image: &str, pinned: bool) -> bool {
    pinned || image.contains('@')
}

async fn used_by(
    comparison: &mut Comparison<'_>,
    base: &RepositoryBase,
    target: &BuiltTarget,
) -> Result<Option<BaseUse>, Problem> {
    let detected = target.detected.iter().find(|used| used.name == base.image);
    if detected.is_none() && !base.linked {
        return Ok(None);
    }
    let used = detected.and_then(|used| used.digest.clone());
    let pinned = detected.is_some_and(|used| is_pinned(&used.name, used.pinned));
    // What stands on its own image does not follow it.
    let follows = base.is_followed && (base.linked || !pinned) && !target.makes.contains(&base.image);
    let standing = match base.watch.watched().filter(|_| follows) {
        Some(watched) => {
            comparison
                .of(
                    watched,
                    used.as_deref().filter(|_| !pinned),
                    (&target.build, target.started_at),
                )
                .await?
        }
        None => Standing::default(),
    };
    Ok(Some(BaseUse {
        build: target.build.clone(),
        rule: target.rule.clone(),
        source_type: target.source_type,
        source_name: target.source_name.clone(),
        makes: target.makes.clone(),
        used,
        pinned,
        outdated: standing.outdated,
        behind_since: standing.behind_since,
    }))
}
