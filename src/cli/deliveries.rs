//! `hullworks deliveries`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::{
    client::Client,
    failure::Failure,
    output::{Output, note},
    reference::parse_repository,
    table::Cell,
};
use crate::domain::repository::RepositoryName;

const DEFAULT_LIMIT: u32 = 20;

const HEAD: [&str; 6] = ["ID", "RECEIVED", "OUTCOME", "EVENT", "SOURCE", "REASON"];

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
        if deliveries.is_empty() {
            note("there are none");
        }
        out.table(&HEAD, deliveries.iter().map(row).collect())?;
        Ok(())
    }
}

fn row(delivery: &Value) -> Vec<Cell> {
    let text = |key: &str| delivery[key].as_str().unwrap_or_default();
    let received = match text("received_at").parse::<DateTime<Utc>>() {
        Ok(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        Err(_) => text("received_at").to_owned(),
    };
    vec![
        Cell::new(text("id")),
        Cell::new(received),
        Cell::state(text("outcome")),
        Cell::new(format!("{} {}", text("provider"), text("event")).trim()),
        Cell::new(text("source_name")),
        Cell::new(text("reason")),
    ]
}
