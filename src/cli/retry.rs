//! `hullworks retry`.

use serde_json::json;

use super::{
    client::Client,
    failure::Failure,
    follow::{Show, follow_all, verdict},
    output::Output,
    reference::parse_build_id,
};

/// Build again what an ended build built
///
/// The same commit by the same rule, as it was then. The new build's id is printed.
#[derive(Debug, clap::Args)]
pub struct Retry {
    /// The ended build's id
    #[arg(value_name = "ID", value_parser = parse_build_id)]
    build: String,
    /// Take the branch's or tag's present commit and the rule as it is now
    #[arg(long)]
    refresh: bool,
    /// Show the new build's log until it ends, and exit with its outcome
    #[arg(long)]
    follow: bool,
    /// Print the API's JSON; with --follow the new build as it ended, and no log
    #[arg(long)]
    json: bool,
}

impl Retry {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let inputs = if self.refresh { "refresh" } else { "same" };
        let answer = client
            .post(&["builds", &self.build, "retry"], &json!({ "inputs": inputs }))
            .await?;
        // The new build itself, or a list with it as for a trigger.
        let id = answer["id"].as_str().or_else(|| answer["builds"][0]["id"].as_str());
        let Some(id) = id.map(str::to_owned) else {
            return Err(Failure::Failed("the server does not name the new build".to_owned()));
        };
        if !self.follow {
            match self.json {
                true => out.json(&answer)?,
                false => out.line(&id)?,
            }
            return Ok(());
        }
        let show = if self.json { Show::Nothing } else { Show::Log };
        let ended = follow_all(&client, &[id], show, &mut out).await?;
        if self.json {
            ended.iter().try_for_each(|build| out.json(build))?;
        }
        verdict(&ended)
    }
}
