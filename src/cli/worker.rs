//! `hullworks worker`.

use super::{failure::Failure, serve::start_logging, settings::SettingsArgs};
use crate::app;

/// Run a worker alone, on another machine, for the same database
///
/// It needs PostgreSQL (--database-url): a SQLite database belongs to the one machine that serves it. Its data directory
/// holds mirrors, and a copy of the server's master.key, with which credentials are unsealed.
#[derive(Debug, clap::Args)]
pub struct Worker {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Worker {
    pub async fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?;
        if config.database_url.is_none() {
            return Err(Failure::Usage(
                "a worker alone needs a database that it can share with the server: give --database-url postgres://..., \
                 or use `hullworks serve`, which has workers of its own"
                    .to_owned(),
            ));
        }
        start_logging(&config)?;
        app::worker(config).await.map_err(|error| Failure::caused_by(&error))
    }
}
