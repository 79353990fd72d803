//! `hullworks logs`.

use futures_util::StreamExt;
use serde_json::json;

use super::{
    cause::explain_rebuild,
    client::Client,
    failure::Failure,
    follow::{Show, follow_all, verdict},
    output::{Output, note},
    reference::parse_build_id,
};

/// Print a build's log
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// The build's id
    #[arg(value_name = "ID", value_parser = parse_build_id)]
    build: String,
    /// Go on until the build ends, and exit with its outcome
    #[arg(long, short)]
    follow: bool,
    /// Print the log as JSON: {"build", "log"}; with --follow the build as it ended
    #[arg(long)]
    json: bool,
}

impl Logs {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        if !self.json
            && let Some(build) = client.find(&["builds", &self.build]).await?
            && let Some(words) = explain_rebuild(&build["cause"])
        {
            note(&words);
        }
        if self.follow {
            let show = if self.json { Show::Nothing } else { Show::Log };
            let ended = follow_all(&client, std::slice::from_ref(&self.build), show, &mut out).await?;
            if self.json {
                ended.iter().try_for_each(|build| out.json(build))?;
            }
            return verdict(&ended);
        }
        let mut pieces = client.log(&self.build).await?.bytes_stream();
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| client.unreachable(error))?;
            match self.json {
                true => whole.extend_from_slice(&piece),
                false => out.foreign(&piece)?,
            }
        }
        out.end_of_foreign()?;
        if self.json {
            out.json(&json!({ "build": self.build, "log": String::from_utf8_lossy(&whole) }))?;
        }
        Ok(())
    }
}
