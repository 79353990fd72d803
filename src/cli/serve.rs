//! `hullworks serve`.

use super::{environment, failure::Failure, settings::SettingsArgs};
use crate::{app, config::Config, telemetry};

/// Run API, webhooks, queue, workers and the start page in one process
///
/// The data directory is created where it is missing; a second server on the same one is refused. SIGTERM or Ctrl-C ends
/// it: running builds may finish for a while and go back to the queue then.
///
/// Every flag is also a key of the configuration file and an environment variable; the environment wins over the file,
/// flags over both. A key that is not known is refused, a HULLWORKS_ variable that is not known warned about.
#[derive(Debug, clap::Args)]
pub struct Serve {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Serve {
    pub async fn run(self) -> Result<(), Failure> {
        let config = self.settings.load()?;
        start_logging(&config)?;
        app::serve(config).await.map_err(|error| Failure::caused_by(&error))
    }
}

/// Begins to log, with a warning for each variable that was most likely meant to be another.
pub fn start_logging(config: &Config) -> Result<(), Failure> {
    telemetry::init(&config.log, config.log_format).map_err(|error| Failure::Usage(error.to_string()))?;
    for name in environment::unknown_variables(std::env::vars_os().map(|(name, _)| name)) {
        tracing::warn!(
            variable = name,
            "environment variable {name} is not known and has no effect"
        );
    }
    Ok(())
}
