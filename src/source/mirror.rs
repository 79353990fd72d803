//! The bare mirrors on disk: one directory per source repository, one writer at a time.
//!
//! A mirror is never repaired or shrunk in place, since builds may be reading it: it is begun afresh beside the old one.
//! Such a *generation* is removed once nobody holds it. Locks are advisory file locks, which a killed process leaves
//! open for the next.
//!
//! ```text
//! <sha256 of the key>/lock        held while fetching
//! <sha256 of the key>/3.git       the newest generation, in use
//! <sha256 of the key>/3.lease     locked (shared) by everybody who reads it
//! <sha256 of the key>/3.broken    present if somebody met a broken object in it
//! <sha256 of the key>/submodules/<sha256 of the address>/    the mirror of a submodule, made likewise
//! ```

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use git2::{Repository, RepositoryInitOptions};
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;

use super::SourceError;

/// Each fetch adds a pack and libgit2 cannot join them; with more than this, lookups are slow.
const MAX_PACKS: usize = 200;

/// How often another process's lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// Says which source a generation was fetched from; written last, so that a half-made one lacks it.
const SOURCE_FILE: &str = "hullworks-source";

/// Holds the mirrors of a repository's submodules.
const SUBMODULES_DIR: &str = "submodules";

/// By the mirror's directory.
type Locks = HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>;

/// Names a mirror.
#[derive(Debug, Clone, Copy)]
pub(super) struct MirrorKey<'a> {
    pub repository: &'a str,
    /// The submodule's address; none for the mirror of the repository itself.
    pub submodule: Option<&'a str>,
}

impl MirrorKey<'_> {
    /// Below the directory of all mirrors.
    fn dir(self) -> PathBuf {
        let hash = |text: &str| hex::encode(Sha256::digest(text));
        let mut dir = PathBuf::from(hash(self.repository));
        if let Some(url) = self.submodule {
            dir.extend([SUBMODULES_DIR, &hash(url)]);
        }
        dir
    }
}

/// All mirrors. Cheap to clone.
#[derive(Clone)]
pub(super) struct Mirrors {
    dir: Arc<PathBuf>,
    /// File locks are between processes; within this one, waiting for a mutex costs nothing.
    locks: Arc<Mutex<Locks>>,
}

/// The right to write to one mirror.
pub(super) struct Mirror {
    dir: PathBuf,
    _file: File,
    _in_process: OwnedMutexGuard<()>,
}

/// One bare repository, which stays on disk as long as this lives.
pub(super) struct Generation {
    path: PathBuf,
    /// Nothing in it can be older than this fetch.
    pub fresh: bool,
    _lease: File,
}

impl Mirrors {
    pub(super) fn new(dir: PathBuf) -> Result<Self, SourceError> {
        fs::create_dir_all(&dir)
            .map_err(|error| SourceError::Mirror(format!("{} cannot be used: {error}", dir.display())))?;
        Ok(Self {
            dir: Arc::new(dir),
            locks: Arc::default(),
        })
    }

    /// Waits until nobody else writes to the mirror.
    pub(super) async fn lock(&self, key: MirrorKey<'_>) -> Result<Mirror, SourceError> {
        self.lock_dir(self.dir.join(key.dir())).await
    }

    async fn lock_dir(&self, dir: PathBuf) -> Result<Mirror, SourceError> {
        let in_process = self.in_process(&dir).lock_owned().await;
        loop {
            fs::create_dir_all(&dir)?;
            let file = File::create(dir.join("lock"))?;
            match file.try_lock() {
                // Its mirror may have been removed between the two calls, the file with it.
                Ok(()) if file.metadata()?.nlink() == 0 => {}
                Ok(()) => {
                    return Ok(Mirror {
                        dir,
                        _file: file,
                        _in_process: in_process,
                    });
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_RETRY).await,
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }

    /// Removes all mirrors but those of `known` repositories, and answers how many. One that a build reads stays.
    pub(super) async fn remove_but(&self, known: &[&str]) -> Result<usize, SourceError> {
        let known: HashSet<PathBuf> = known
            .iter()
            .map(|repository| MirrorKey {
                repository,
                submodule: None,
            })
            .map(|key| self.dir.join(key.dir()))
            .collect();
        let mut removed = 0;
        for entry in fs::read_dir(&*self.dir)? {
            let dir = entry?.path();
            if known.contains(&dir) || !dir.is_dir() {
                continue;
            }
            match self.remove(dir).await {
                Ok(()) => removed += 1,
                Err(SourceError::Unavailable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Removes a repository's mirror and those of its submodules, with all their generations. Fails with a passing error
    /// while a checkout of it is still held.
    async fn remove(&self, dir: PathBuf) -> Result<(), SourceError> {
        let own = self.lock_dir(dir).await?;
        let mut submodules = Vec::new();
        for dir in own.submodules()? {
            submodules.push(self.lock_dir(dir).await?);
        }
        tokio::task::spawn_blocking(move || {
            for mirror in submodules.iter().chain([&own]) {
                mirror.remove_unused(None)?;
                if !mirror.generations()?.is_empty() {
                    return Err(SourceError::Unavailable(
                        "a build still reads the source mirror".to_owned(),
                    ));
                }
            }
            Ok(fs::remove_dir_all(&own.dir)?)
        })
        .await
        .map_err(SourceError::mirror)?
    }

    fn in_process(&self, dir: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(dir).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(dir.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

impl Mirror {
    /// The generation to fetch into: the newest if it is sound and of this source, else a fresh one.
    pub(super) fn current(&self, source: &str) -> Result<Generation, SourceError> {
        let newest = self.generations()?.last().copied();
        let usable = match newest {
            Some(number) if self.is_usable(number, source)? => Some(number),
            _ => None,
        };
        self.remove_unused(usable)?;
        match usable {
            Some(number) => {
                let generation = self.lease(number, false)?;
                sweep(&generation.path.join("objects/pack"))?;
                Ok(generation)
            }
            None => self.renew(source),
        }
    }

    /// Begins a fresh generation; the others are removed when nobody holds them any more.
    pub(super) fn renew(&self, source: &str) -> Result<Generation, SourceError> {
        let number = self.generations()?.last().map_or(1, |newest| newest + 1);
        let generation = self.lease(number, true)?;
        Repository::init_opts(
            &generation.path,
            RepositoryInitOptions::new().bare(true).external_template(false),
        )?;
        fs::write(generation.path.join(SOURCE_FILE), source)?;
        Ok(generation)
    }

    fn lease(&self, number: u64, fresh: bool) -> Result<Generation, SourceError> {
        let lease = File::create(self.path(number, "lease"))?;
        lease.lock_shared()?;
        Ok(Generation {
            path: self.path(number, "git"),
            fresh,
            _lease: lease,
        })
    }

    fn is_usable(&self, number: u64, source: &str) -> Result<bool, SourceError> {
        let path = self.path(number, "git");
        let same_source = fs::read(path.join(SOURCE_FILE)).is_ok_and(|of| of == source.as_bytes());
        if !same_source || self.path(number, "broken").exists() || Repository::open_bare(&path).is_err() {
            return Ok(false);
        }
        let files = fs::read_dir(path.join("objects/pack"))?.count();
        Ok(files <= 2 * MAX_PACKS)
    }

    /// Removes all generations but one, as far as nobody holds them.
    fn remove_unused(&self, keep: Option<u64>) -> Result<(), SourceError> {
        for number in self.generations()? {
            if Some(number) == keep {
                continue;
            }
            let lease = File::create(self.path(number, "lease"))?;
            match lease.try_lock() {
                Ok(()) => {
                    fs::remove_dir_all(self.path(number, "git"))?;
                    remove_if_there(&self.path(number, "broken"))?;
                    remove_if_there(&self.path(number, "lease"))?;
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The directories of the submodules' mirrors.
    fn submodules(&self) -> Result<Vec<PathBuf>, SourceError> {
        match fs::read_dir(self.dir.join(SUBMODULES_DIR)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => Ok(entries?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()?),
        }
    }

    /// The numbers of all generations, ascending.
    fn generations(&self) -> Result<Vec<u64>, SourceError> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let number: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(".git")?.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path(&self, number: u64, extension: &str) -> PathBuf {
        self.dir.join(format!("{number}.{extension}"))
    }
}

impl Generation {
    /// Opens the repository; each thread needs its own.
    pub(super) fn open(&self) -> Result<Repository, git2::Error> {
        Repository::open_bare(&self.path)
    }

    /// Where the objects are, for another repository to read them too.
    pub(super) fn objects(&self) -> Result<String, git2::Error> {
        let objects = self.path.join("objects");
        let text = objects.to_str().map(str::to_owned);
        text.ok_or_else(|| git2::Error::from_str("the path of the source mirrors is not UTF-8"))
    }

    /// Whether it is the same repository on disk.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// Makes the next fetch begin a fresh generation. Best effort: whoever calls this already has an error to report.
    pub(super) fn mark_broken(&self) {
        if let Err(error) = File::create(self.path.with_extension("broken")) {
            tracing::warn!(mirror = %self.path.display(), %error, "a broken source mirror could not be marked");
        }
    }
}

/// Removes what a killed process left of packs that it was writing.
fn sweep(packs: &Path) -> Result<(), SourceError> {
    for entry in fs::read_dir(packs)? {
        let path = entry?.path();
        let complete = match path.extension().and_then(OsStr::to_str) {
            Some("pack") => path.with_extension("idx").exists(),
            Some("idx") => path.with_extension("pack").exists(),
            _ => false,
        };
        if !complete {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
