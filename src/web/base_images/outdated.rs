//! Images of ours that stand on old versions of what they were built on.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{familiar, sight::Seen, standing::Comparison};
use crate::{
    domain::{ids::BuildId, repository::RepositoryName, rule::SourceType},
    store::{Sight, WatchKey, WatchedImage},
    web::{Web, auth::Caller, problem::Problem},
};

/// A ref of a rule whose images stand on an old version of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutdatedBase {
    pub repository: RepositoryName,
    pub build: BuildId,
    pub source_type: SourceType,
    pub source_name: String,
    /// The images that it holds, fully named with their tags.
    pub makes: Vec<String>,
    /// The base, fully named.
    pub image: String,
    pub familiar: String,
    /// What it was built on, where that is known.
    pub used: Option<String>,
    /// What the base's tag stands for now.
    pub current: Option<String>,
    /// Since when there is a newer version, as far as that was seen.
    pub behind_since: Option<DateTime<Utc>>,
}

impl OutdatedBase {
    /// What lists are sorted by: the longest behind first, those last of which that is not known.
    pub fn key(&self) -> String {
        let since = self.behind_since.unwrap_or(DateTime::<Utc>::MAX_UTC).timestamp_micros();
        let (kind, source) = (self.source_type.as_str(), &self.source_name);
        format!(
            "{since:020}\n{}\n{kind}\n{source}\n{}\n{}",
            self.repository, self.image, self.build
        )
    }
}

/// What stands on old versions, as far as the caller may see it: the longest behind first.
pub async fn outdated(web: &Web, caller: &Caller) -> Result<Vec<OutdatedBase>, Problem> {
    let seen = Seen::by(web, caller).await?;
    found(web, &seen, |key| seen.shows(caller, key)).await
}

/// How much of everything stands on old versions.
pub async fn count_outdated(web: &Web) -> Result<usize, Problem> {
    let seen = Seen::with(web, &Sight::Everything).await?;
    Ok(found(web, &seen, |_| true).await?.len())
}

async fn found(web: &Web, seen: &Seen, shows: impl Fn(&WatchKey) -> bool) -> Result<Vec<OutdatedBase>, Problem> {
    let all = web.store.watched_images().await?;
    let watched: HashMap<&WatchKey, &WatchedImage> = all.iter().map(|watched| (&watched.key, watched)).collect();
    let mut comparison = Comparison::new(web);
    let mut outdated = Vec::new();
    for target in seen.graph.targets() {
        for base in &target.stands_on {
            let key = WatchKey {
                image: base.image.clone(),
                access: base.access.clone(),
            };
            let is_own = target.makes.contains(&base.image);
            let Some(watched) = watched.get(&key).filter(|_| !is_own && shows(&key)) else {
                continue;
            };
            let standing = comparison
                .of(watched, base.digest.as_deref(), (&target.build, target.started_at))
                .await?;
            if standing.outdated {
                outdated.push(OutdatedBase {
                    repository: target.name.clone(),
                    build: target.build.clone(),
                    source_type: target.source_type,
                    source_name: target.source_name.clone(),
                    makes: target.makes.clone(),
                    familiar: familiar(&base.image),
                    image: key.image,
                    used: base.digest.clone(),
                    current: watched.digest.clone(),
                    behind_since: standing.behind_since,
                });
            }
        }
    }
    outdated.sort_by_key(OutdatedBase::key);
    Ok(outdated)
}
