//! `hullworks cancel`.

use serde_json::json;

use super::{
    client::Client,
    failure::Failure,
    output::{Output, note},
    reference::parse_build_id,
};

/// Cancel a queued or running build
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// The build's id
    #[arg(value_name = "ID", value_parser = parse_build_id)]
    build: String,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

impl Cancel {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let answer = client.post(&["builds", &self.build, "cancel"], &json!({})).await?;
        match self.json {
            true => out.json(&answer)?,
            // What is queued is canceled at once, what runs is stopped by its worker.
            false if answer["status"] == "canceled" => note("canceled"),
            false => note("it is being stopped"),
        }
        Ok(())
    }
}
