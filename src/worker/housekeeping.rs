//! Looks at what this worker's disk and engine hold, and carries out the clean-ups that administrators ask for.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::Parts;
use crate::{
    domain::{
        disk::{CleanUp, DiskUse},
        ids::WorkerId,
    },
    engine::EngineError,
    source::SourceError,
    store::StoreError,
};

/// How often to look without being told: for what was asked for through another process.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How often sizes are counted; the engine looks at every layer for it.
const COUNT_EVERY: Duration = Duration::from_secs(15 * 60);

/// Where this worker keeps its data.
#[derive(Debug, Clone)]
pub struct Places {
    pub data_dir: PathBuf,
    /// `None`: it is on another machine, or not a file.
    pub database: Option<PathBuf>,
    pub logs: PathBuf,
    pub mirrors: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum CleanUpError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Works until `shutdown`.
pub(super) async fn run(parts: Parts, worker: WorkerId, shutdown: CancellationToken) {
    let mut counted_at = None;
    loop {
        let asked = parts.signals.on_clean_up_request(LOOK_EVERY);
        let cleaned = carry_out_one(&parts, &worker).await;
        let is_due = counted_at.is_none_or(|at: tokio::time::Instant| at.elapsed() >= COUNT_EVERY);
        if cleaned || is_due {
            record_use(&parts, &worker).await;
            counted_at = Some(tokio::time::Instant::now());
        }
        if cleaned {
            continue;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = asked => {}
        }
    }
}

/// `false`: nothing was asked for.
async fn carry_out_one(parts: &Parts, worker: &WorkerId) -> bool {
    let asked = match parts.store.begin_clean_up(worker, parts.clock.now()).await {
        Ok(Some(asked)) => asked,
        Ok(None) => return false,
        Err(error) => {
            tracing::error!(%error, "failed to look for clean-ups");
            return false;
        }
    };
    let result = match clean_up(parts, asked.kind).await {
        Ok(result) => result,
        Err(error) => {
            tracing::warn!(%error, kind = asked.kind.as_str(), "a clean-up failed");
            format!("failed: {error}")
        }
    };
    if let Err(error) = parts.store.finish_clean_up(&asked.id, &result, parts.clock.now()).await {
        tracing::error!(%error, "failed to tell what came of a clean-up");
        return false;
    }
    true
}

/// What came of it, for a person to read.
async fn clean_up(parts: &Parts, kind: CleanUp) -> Result<String, CleanUpError> {
    let freed = |bytes: u64| format!("freed {} MB", bytes / 1_000_000);
    match kind {
        CleanUp::BuildCache => Ok(freed(parts.engine.prune_idle_cache().await?)),
        CleanUp::Images => Ok(freed(parts.engine.prune_nameless_images().await?)),
        CleanUp::Mirrors => {
            let known = parts.store.repository_ids().await?;
            let known: Vec<&str> = known.iter().map(|id| id.as_str()).collect();
            Ok(format!("removed: {}", parts.sources.remove_mirrors_but(&known).await?))
        }
    }
}

async fn record_use(parts: &Parts, worker: &WorkerId) {
    let places = parts.settings.places.clone();
    let now = parts.clock.now();
    let counted = tokio::task::spawn_blocking(move || {
        let found = rustix::fs::statvfs(&places.data_dir)?;
        Ok::<_, io::Error>(DiskUse {
            looked_at: now,
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
            database: places.database.as_deref().map_or(0, database_size),
            logs: size_of(&places.logs),
            mirrors: size_of(&places.mirrors),
            engine: None,
        })
    });
    let mut found = match counted.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return tracing::warn!(%error, "failed to look at the disk"),
        Err(error) => return tracing::error!(%error, "looking at the disk ended by a bug"),
    };
    match parts.engine.disk_use().await {
        Ok(engine) => found.engine = Some(engine),
        Err(error) => tracing::debug!(%error, "the engine does not say what it holds"),
    }
    if let Err(error) = parts.store.record_disk_use(worker, &found).await {
        tracing::error!(%error, "failed to tell what is on the disk");
    }
}

/// The database with its write-ahead log.
fn database_size(database: &Path) -> u64 {
    let beside = PathBuf::from(format!("{}-wal", database.display()));
    [database, &beside]
        .into_iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|found| found.len())
        .sum()
}

/// Bytes of all files below a directory; what cannot be read counts as nothing. Links are not followed.
fn size_of(directory: &Path) -> u64 {
    let mut total = 0;
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                Ok(kind) if kind.is_file() => total += entry.metadata().map_or(0, |found| found.len()),
                _ => {}
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_in_all_depths_and_links_lead_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::write(directory.path().join("one"), [0; 10]).unwrap();
        fs::write(directory.path().join("a/b/two"), [0; 32]).unwrap();
        std::os::unix::fs::symlink("/", directory.path().join("a/root")).unwrap();
        assert_eq!(size_of(directory.path()), 42);
        assert_eq!(size_of(&directory.path().join("missing")), 0);
    }

    #[test]
    fn a_database_counts_with_its_log() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("hullworks.db");
        fs::write(&database, [0; 7]).unwrap();
        fs::write(directory.path().join("hullworks.db-wal"), [0; 5]).unwrap();
        assert_eq!(database_size(&database), 12);
    }
}
