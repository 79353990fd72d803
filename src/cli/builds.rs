//! `hullworks builds`.

use serde_json::{Value, json};

use super::{client::Client, failure::Failure, output::Output, reference::parse_repository};
use crate::domain::{build::Status, repository::RepositoryName};

/// Builds that are listed unless more are asked for.
const DEFAULT_LIMIT: u32 = 20;

/// List builds, newest first
#[derive(Debug, clap::Args)]
pub struct Builds {
    /// Only those of this repository
    #[arg(value_name = "NS/NAME", value_parser = parse_repository)]
    repository: Option<RepositoryName>,
    /// Only those in this state: queued, running, succeeded, failed, canceled, superseded, skipped
    #[arg(long, value_name = "STATUS", value_parser = parse_status)]
    status: Option<Status>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

impl Builds {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let path = match &self.repository {
            Some(name) => vec!["repositories", name.namespace(), name.name(), "builds"],
            None => vec!["builds"],
        };
        let query: Vec<_> = self.status.iter().map(|status| ("status", status.as_str())).collect();
        let builds = client.list(&path, &query, Some(self.limit as usize)).await?;
        if self.json {
            out.json(&json!({ "items": builds }))?;
            return Ok(());
        }
        for build in &builds {
            out.line(&describe(build))?;
        }
        Ok(())
    }
}

fn parse_status(text: &str) -> Result<Status, String> {
    Status::parse(text).ok_or_else(|| format!("it is one of {}", Status::ALL.map(Status::as_str).join(", ")))
}

/// A build in one line, for a list.
fn describe(build: &Value) -> String {
    let text = |key: &str| build[key].as_str().unwrap_or_default();
    let commit: String = text("commit").chars().take(10).collect();
    format!(
        "{}  {:<10} {} #{}  {} {}  {}  {}",
        text("id"),
        text("status"),
        text("repository"),
        build["number"],
        text("source_type"),
        text("source_name"),
        commit,
        tags(build),
    )
    .trim_end()
    .replace(char::is_control, " ")
}

/// How a build ended, in one line: `team/app #3 succeeded: registry/team/app:latest sha256:...`.
pub fn describe_outcome(build: &Value) -> String {
    let text = |key: &str| build[key].as_str().unwrap_or_default();
    let head = format!("{} #{} {}", text("repository"), build["number"], text("status"));
    let detail = match build["error"]["message"].as_str() {
        Some(message) => format!("{}: {message}", build["error"]["kind"].as_str().unwrap_or("error")),
        None if text("status") == "succeeded" => format!("{}:{} {}", text("image"), tags(build), text("digest"))
            .trim_end()
            .to_owned(),
        None => String::new(),
    };
    match detail.is_empty() {
        true => head,
        false => format!("{head}: {detail}"),
    }
}

fn tags(build: &Value) -> String {
    let tags = build["tags"].as_array().into_iter().flatten();
    tags.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_says_what_became_of_the_build() {
        let check = |build: Value, expected: &str| assert_eq!(describe_outcome(&build), expected);
        check(
            json!({"repository": "team/app", "number": 3, "status": "succeeded", "image": "r/team/app",
                "tags": ["1", "latest"], "digest": "sha256:ab", "error": null}),
            "team/app #3 succeeded: r/team/app:1,latest sha256:ab",
        );
        check(
            json!({"repository": "team/app", "number": 3, "status": "failed", "error": {"kind": "build", "message": "exit code 2"}}),
            "team/app #3 failed: build: exit code 2",
        );
        check(
            json!({"repository": "team/app", "number": 3, "status": "canceled", "error": null}),
            "team/app #3 canceled",
        );
    }

    #[test]
    fn a_line_of_the_list_is_one_line() {
        let build = json!({"id": "b", "status": "queued", "repository": "team/app", "number": 1, "source_type": "branch",
            "source_name": "a\nb", "commit": null, "tags": ["latest"]});
        assert_eq!(describe(&build).lines().count(), 1);
    }
}
