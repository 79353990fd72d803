//! What somebody who watches a page waits for, in one cheap value: it differs whenever what the page shows has changed, in
//! this process or another. Never shown to anybody.

use super::{Store, StoreError, on};
use crate::domain::{
    build::Status,
    ids::{BuildId, RepositoryId, WaveId},
};

/// What a page is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ActivityOf {
    /// All builds, and the queue.
    Everything,
    Repository(RepositoryId),
    Build(BuildId),
    /// Everything that is watched, and all waves.
    BaseImages,
    Wave(WaveId),
}

/// Two of them are equal while nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Activity(Vec<String>);

impl Activity {
    /// Of a build: whether nothing can change any more, since it has ended or is gone.
    pub fn is_over(&self) -> bool {
        let status = self.0.first().and_then(|first| first.split(' ').next());
        status.and_then(Status::parse).is_none_or(Status::is_final)
    }
}

/// What of a build changes until it has ended; its state comes first.
macro_rules! moving_parts {
    () => {
        "select status || ' ' || id || ' ' || coalesce(phase, '') || ' ' || cast(fence as text) || ' ' || \
         (case when cancel_requested then 'stop' else '' end) || ' ' || coalesce(commit_sha, '') || ' ' || \
         cast(length(steps) as text) from builds where "
    };
}

/// How many wait, and the newest: of those that wait nothing else changes until they start.
const WAITING: &str = "select 'waiting ' || cast(count(*) as text) from builds where status = 'queued' \
                       union all select 'newest ' || coalesce(max(id), '') from builds";

const RUNNING: &str = concat!(moving_parts!(), "status = 'running' order by id");

const WAITING_OF_REPOSITORY: &str = "select 'waiting ' || cast(count(*) as text) from builds \
     where repository_id = $1 and status = 'queued' \
     union all select 'newest ' || coalesce(max(id), '') from builds where repository_id = $1 \
     union all select 'delivery ' || coalesce(max(id), '') from deliveries where repository_id = $1 \
     union all select 'saved ' || cast(updated_at as text) from repositories where id = $1";

const RUNNING_OF_REPOSITORY: &str = concat!(moving_parts!(), "repository_id = $1 and status = 'running' order by id");

const BUILD: &str = concat!(moving_parts!(), "id = $1");

const BEFORE_BUILD: &str = "select 'before ' || cast(count(*) as text) from builds where status = 'queued' and id < $1 \
                            and (select status from builds where id = $1) = 'queued'";

const WATCHED: &str = "select image || ' ' || access || ' ' || coalesce(digest, '') || ' ' || coalesce(problem, '') || ' ' || \
                       coalesce(cast(gone_since as text), '') from watched_images order by image, access";

/// How many builds hold which of the newest tags, beside the waves: who stands on what changes with them.
const WAVES: &str = "select id || ' ' || state || ' ' || cast(settles_at as text) from waves where ended_at is null \
                     union all select 'newest ' || coalesce(max(id), '') from waves \
                     union all select 'left ' || cast(count(*) as text) from wave_items where state in ('waiting', 'building') \
                     union all select 'tags ' || cast(count(*) as text) || ' ' || coalesce(max(newest_build), '') from published_tags";

const WAVE: &str = "select state || ' ' || coalesce(cast(at_once as text), '') || ' ' || cast(settles_at as text) from waves where id = $1";

const WAVE_ITEMS: &str =
    "select id || ' ' || state || ' ' || coalesce(build_id, '') from wave_items where wave_id = $1 order by id";

impl Store {
    /// The present value of what a page is about.
    pub async fn activity(&self, of: &ActivityOf) -> Result<Activity, StoreError> {
        let (statements, id) = match of {
            ActivityOf::Everything => ([WAITING, RUNNING], None),
            ActivityOf::Repository(id) => ([WAITING_OF_REPOSITORY, RUNNING_OF_REPOSITORY], Some(id.as_str())),
            ActivityOf::Build(id) => ([BUILD, BEFORE_BUILD], Some(id.as_str())),
            ActivityOf::BaseImages => ([WATCHED, WAVES], None),
            ActivityOf::Wave(id) => ([WAVE, WAVE_ITEMS], Some(id.as_str())),
        };
        let mut parts = Vec::new();
        let mut reader = self.reader().await?;
        for sql in statements {
            let found: Vec<String> = on!(reader.handle(), c => {
                let query = sqlx::query_scalar(sql);
                match id {
                    Some(id) => query.bind(id).fetch_all(c).await,
                    None => query.fetch_all(c).await,
                }
            })?;
            parts.extend(found);
        }
        Ok(Activity(parts))
    }
}
