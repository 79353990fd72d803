//! What lies where in the data directory.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::domain::ids::WorkerId;

/// The directory that holds everything an installation keeps.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// Held for as long as a server uses the directory; the operating system lets go of it however the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("the data directory {} cannot be used: {source}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("another server is running on the data directory {}", path.display())]
    InUse { path: PathBuf },
}

impl DataDir {
    /// Makes the directory and what is below it where it is missing, readable by its owner alone.
    pub fn create(path: &Path) -> Result<Self, LayoutError> {
        let unusable = |source| LayoutError::Unusable {
            path: path.to_owned(),
            source,
        };
        create_private(path).map_err(unusable)?;
        let path = path.canonicalize().map_err(unusable)?;
        let data_dir = Self(path);
        for below in [data_dir.mirrors(), data_dir.logs()] {
            create_private(&below).map_err(|source| LayoutError::Unusable { path: below, source })?;
        }
        Ok(data_dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The SQLite database.
    pub fn database(&self) -> PathBuf {
        self.0.join("hullworks.db")
    }

    pub fn key_file(&self) -> PathBuf {
        self.0.join("master.key")
    }

    /// Bare mirrors of the sources.
    pub fn mirrors(&self) -> PathBuf {
        self.0.join("mirrors")
    }

    /// Sealed logs.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// Makes this process the only server on the directory.
    pub fn lock(&self) -> Result<DataDirLock, LayoutError> {
        let path = self.0.join("lock");
        let unusable = |source| LayoutError::Unusable {
            path: path.clone(),
            source,
        };
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(DataDirLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LayoutError::InUse { path: self.0.clone() }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// The id under which this directory's worker holds leases; the same over restarts.
    pub fn worker_id(&self) -> Result<WorkerId, LayoutError> {
        let path = self.0.join("worker-id");
        let unusable = |source| LayoutError::Unusable {
            path: path.clone(),
            source,
        };
        match fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok(WorkerId::from(text.trim())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(error)),
        }
        let id = WorkerId::new();
        fs::write(&path, format!("{id}\n")).map_err(unusable)?;
        Ok(id)
    }
}

fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_on_the_directory_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::create(&directory.path().join("a/b")).unwrap();
        let first = data_dir.lock().unwrap();
        assert!(matches!(data_dir.lock(), Err(LayoutError::InUse { .. })));
        drop(first);
        data_dir.lock().unwrap();
    }

    #[test]
    fn the_worker_keeps_its_id_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let id = DataDir::create(directory.path()).unwrap().worker_id().unwrap();
        assert_eq!(DataDir::create(directory.path()).unwrap().worker_id().unwrap(), id);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DataDir::create(&file.join("below")).unwrap_err().to_string();
        assert!(error.contains("file/below"), "{error}");
    }
}
