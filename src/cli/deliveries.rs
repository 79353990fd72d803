//! `hullworks deliveries`.

use serde_json::json;

use super::{client::Client, failure::Failure, output::Output, reference::parse_repository};
use crate::domain::repository::RepositoryName;

const DEFAULT_LIMIT: u32 = 20;

/// List a repository's webhooks, polls and clicks with what became of them, newest first
#[derive(Debug, clap::Args)]
pub struct Deliveries {
    /// The repository
    #[arg(value_name = "NS/NAME", value_parser = parse_repository)]
    repository: RepositoryName,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

impl Deliveries {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let path = [
            "repositories",
            self.repository.namespace(),
            self.repository.name(),
            "deliveries",
        ];
        let deliveries = client.list(&path, &[], Some(self.limit as usize)).await?;
        if self.json {
            out.json(&json!({ "items": deliveries }))?;
            return Ok(());
        }
        for delivery in &deliveries {
            let text = |key: &str| delivery[key].as_str().unwrap_or_default();
            let line = format!(
                "{}  {}  {:<10} {} {}  {}",
                text("id"),
                text("received_at"),
                text("outcome"),
                text("event"),
                text("source_name"),
                text("reason")
            );
            out.line(&line.trim_end().replace(char::is_control, " "))?;
        }
        Ok(())
    }
}
