//! `hullworks backup`.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{
    archive::{ArchiveWriter, DATABASE, DatabaseKind, KEY_FILE},
    failure::Failure,
    output::{Output, note},
    settings::SettingsArgs,
    user::open,
};
use crate::layout::DataDir;

/// Write database, key file and logs into one file, consistently, while the server runs
///
/// The file (a tar, compressed with zstd) holds the key and so every secret: it is made readable by its owner alone, and
/// wants a safe place. Source mirrors are not in it; they are fetched again. A file of that name is replaced once the new
/// one is complete.
///
/// With PostgreSQL the database is not in it: back that up with pg_dump, before this command, so that the logs it names
/// are in the file.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Backup {
    pub async fn run(self, _out: Output) -> Result<(), Failure> {
        let config = self.settings.load()?;
        let has_database = config.database_url.is_some() || config.data_dir.join(DATABASE).exists();
        if !has_database {
            return Err(Failure::Failed(format!(
                "there is no installation in {}",
                config.data_dir.display()
            )));
        }
        let failed = |error: io::Error| Failure::Failed(format!("failed to write {}: {error}", self.file.display()));
        let directory = parent_of(&self.file);
        let scratch = tempfile::Builder::new()
            .prefix(".hullworks-backup-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(directory)
            .map_err(failed)?;
        let copy = scratch.path().join(DATABASE);
        let Some(copy_path) = copy.to_str() else {
            return Err(Failure::Usage("the file's path is not text".to_owned()));
        };
        let opened = open(&config).await?;
        let copied = opened.store.copy_sqlite_to(copy_path).await;
        let data_dir = opened.data_dir;
        opened.store.close().await;
        let is_sqlite = copied.map_err(|error| Failure::caused_by(&error))?;
        // After the database, so that every sealed log that it names is there.
        write(&self.file, is_sqlite.then_some(copy.as_path()), &data_dir).map_err(failed)?;
        if !is_sqlite {
            note("key file and logs are backed up; the PostgreSQL database is not in the file: use pg_dump");
        }
        Ok(())
    }
}

fn write(to: &Path, database: Option<&Path>, data_dir: &DataDir) -> io::Result<()> {
    let file = tempfile::Builder::new()
        .prefix(".hullworks-backup-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(parent_of(to))?;
    let kind = if database.is_some() {
        DatabaseKind::Sqlite
    } else {
        DatabaseKind::Postgres
    };
    let mut archive = ArchiveWriter::new(file, kind)?;
    if let Some(database) = database {
        archive.file(DATABASE, database)?;
    }
    archive.file(KEY_FILE, &data_dir.key_file())?;
    archive.logs(&data_dir.logs())?;
    let file = archive.finish()?;
    file.as_file().sync_all()?;
    file.persist(to)?;
    fs::File::open(parent_of(to))?.sync_all()
}

/// The directory that a path is in.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
