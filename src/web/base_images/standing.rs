//! Whether what was built on an image stands on an old version of it, and since when.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    domain::{
        ids::BuildId,
        platform::{canonical_platform, is_same_on},
    },
    store::{ImageVersion, WatchKey, WatchedImage},
    web::{Web, problem::Problem},
};

/// How many of an image's versions are looked through.
const VERSIONS: u32 = 200;

/// A worker that was not seen for this long does not count.
const WORKER_GONE: TimeDelta = TimeDelta::days(1);

/// How a build stands to what an image's tag stands for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    pub outdated: bool,
    /// Since when there is a newer version, as far as that was seen.
    pub behind_since: Option<DateTime<Utc>>,
}

/// Compares builds with what is watched, reading what it needs of the history once.
pub(super) struct Comparison<'a> {
    web: &'a Web,
    versions: HashMap<WatchKey, Vec<ImageVersion>>,
    worker_platforms: Option<Vec<String>>,
}

impl<'a> Comparison<'a> {
    pub fn new(web: &'a Web) -> Self {
        Self {
            web,
            versions: HashMap::new(),
            worker_platforms: None,
        }
    }

    /// How a build stands that used this digest, or of which it is not known what it used.
    pub async fn of(
        &mut self,
        watched: &WatchedImage,
        used: Option<&str>,
        (build, started_at): (&BuildId, DateTime<Utc>),
    ) -> Result<Standing, Problem> {
        let Some(current) = watched.digest.as_deref().filter(|current| used != Some(*current)) else {
            return Ok(Standing::default());
        };
        let versions = self.versions(&watched.key).await?;
        if used.is_none() && !moved_after(versions, current, started_at) {
            return Ok(Standing::default());
        }
        let behind_since = behind_since(versions, used, started_at).or(watched.since);
        let of_version = |digest: &str| versions.iter().find(|version| version.digest == digest);
        let before = used.and_then(of_version).and_then(|version| version.platforms.clone());
        let after = of_version(current).and_then(|version| version.platforms.clone());
        if let (Some(before), Some(after)) = (before, after) {
            let ours = match self.web.store.platform_of_build(build).await? {
                Some(platform) => canonical_platform(&platform).into_iter().collect(),
                None => self.worker_platforms().await?.to_vec(),
            };
            if is_same_on(&ours, &before, &after) {
                return Ok(Standing::default());
            }
        }
        Ok(Standing {
            outdated: true,
            behind_since,
        })
    }

    async fn versions(&mut self, key: &WatchKey) -> Result<&[ImageVersion], Problem> {
        if !self.versions.contains_key(key) {
            let versions = self.web.store.image_versions(key, VERSIONS).await?;
            self.versions.insert(key.clone(), versions);
        }
        Ok(self.versions.get(key).map_or(&[], Vec::as_slice))
    }

    async fn worker_platforms(&mut self) -> Result<&[String], Problem> {
        if self.worker_platforms.is_none() {
            let since = self.web.clock.now() - WORKER_GONE;
            self.worker_platforms = Some(self.web.store.worker_platforms(since).await?);
        }
        Ok(self.worker_platforms.as_deref().unwrap_or_default())
    }
}

/// Whether an image came to what it stands for after this, from something else.
fn moved_after(versions: &[ImageVersion], current: &str, started_at: DateTime<Utc>) -> bool {
    let Some(now) = versions.iter().find(|version| version.digest == current) else {
        return false;
    };
    now.first_seen_at > started_at && versions.iter().any(|version| version.first_seen_at < now.first_seen_at)
}

/// When the first version was seen that is newer than the one that was used.
fn behind_since(versions: &[ImageVersion], used: Option<&str>, started_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let known = used.and_then(|used| versions.iter().find(|version| version.digest == used));
    let after = known.map_or(started_at, |known| known.first_seen_at);
    let newer = versions.iter().map(|version| version.first_seen_at);
    newer.filter(|seen| *seen > after).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(digest: &str, day: u32) -> ImageVersion {
        ImageVersion {
            digest: digest.to_owned(),
            first_seen_at: on(day),
            platforms: None,
        }
    }

    fn on(day: u32) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(i64::from(day))
    }

    #[test]
    fn a_build_is_behind_since_the_first_version_after_its_own() {
        let versions = [version("c", 9), version("b", 5), version("a", 1)];
        assert_eq!(behind_since(&versions, Some("a"), on(2)), Some(on(5)));
        assert_eq!(behind_since(&versions, Some("b"), on(6)), Some(on(9)));
        assert_eq!(behind_since(&versions, None, on(6)), Some(on(9)));
        assert_eq!(behind_since(&versions, Some("unseen"), on(2)), Some(on(5)));
        assert_eq!(behind_since(&versions, Some("c"), on(10)), None);
    }

    #[test]
    fn what_is_not_known_to_have_been_used_is_old_once_the_image_moved_after_the_build() {
        let versions = [version("b", 5), version("a", 1)];
        assert!(moved_after(&versions, "b", on(2)));
        assert!(!moved_after(&versions, "b", on(6)));
        assert!(!moved_after(&versions[1..], "a", on(0)), "the first look is no move");
    }
}
