//! `hullworks restore`.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{
    archive::{DatabaseKind, unpack},
    backup::parent_of,
    failure::Failure,
    output::{Output, note},
    settings::SettingsArgs,
    user::open,
};
use crate::config::Config;

/// Put a backup into an empty data directory
///
/// The whole file is unpacked and checked beside the data directory first, and takes its place at once: a file that is cut
/// or changed leaves nothing behind. A data directory with anything in it is refused, and with it one that a server runs
/// on. After it `hullworks serve` goes on from where the backup was made.
///
/// Of an installation with PostgreSQL it restores key file and logs; restore the database with PostgreSQL's own tools.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// A file that `hullworks backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Restore {
    pub async fn run(self, _out: Output) -> Result<(), Failure> {
        let config = self.settings.load()?;
        let target = &config.data_dir;
        let unusable =
            |error: io::Error| Failure::Failed(format!("failed to restore into {}: {error}", target.display()));
        refuse_unless_empty(target)?;
        let refused = |why: String| Failure::Failed(format!("failed to restore {}: {why}", self.file.display()));
        let file = File::open(&self.file).map_err(|error| refused(error.to_string()))?;
        let parent = parent_of(target);
        fs::create_dir_all(parent).map_err(unusable)?;
        let unpacked = tempfile::Builder::new()
            .prefix(".hullworks-restore-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(unusable)?;
        let manifest = unpack(file, unpacked.path()).map_err(|error| refused(error.to_string()))?;
        match manifest.database {
            DatabaseKind::Sqlite => check(&config, unpacked.path()).await?,
            DatabaseKind::Postgres => note("restore the PostgreSQL database with its own tools; it is not in the file"),
        }
        // Replaces an empty directory, fails on one that was filled meanwhile.
        fs::rename(unpacked.path(), target).map_err(unusable)?;
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(unusable)?;
        note(&format!("restored into {}", target.display()));
        Ok(())
    }
}

fn refuse_unless_empty(target: &Path) -> Result<(), Failure> {
    match fs::read_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::Failed(format!(
            "the data directory {} cannot be used: {error}",
            target.display()
        ))),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::Failed(format!(
                "the data directory {} is not empty: stop the server that uses it and move it away, or restore into another \
                 with --data-dir",
                target.display()
            ))),
        },
    }
}

/// Opens the unpacked database with the unpacked key: they must be one installation's.
async fn check(config: &Config, unpacked: &Path) -> Result<(), Failure> {
    let config = Config {
        data_dir: unpacked.to_owned(),
        database_url: None,
        ..config.clone()
    };
    let opened = open(&config).await?;
    let usable = opened.store.users().await;
    opened.store.close().await;
    usable.map(drop).map_err(|error| Failure::caused_by(&error))
}
