//! `hullworks builds`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    cause::describe_cause,
    client::Client,
    colour::Colour,
    duration::describe_age,
    failure::Failure,
    output::{Output, note},
    reference::parse_repository,
    table::Cell,
};
use crate::{
    clock::Clock,
    domain::{build::Status, repository::RepositoryName},
};

/// Builds that are listed unless more are asked for.
const DEFAULT_LIMIT: u32 = 20;

const HEAD: [&str; 8] = ["ID", "STATUS", "BUILD", "SOURCE", "COMMIT", "AGE", "TAGS", "CAUSE"];

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
        if builds.is_empty() {
            note("there are none");
        }
        let now = Clock::system().now();
        let rows = builds.iter().map(|build| row(build, now)).collect();
        out.table(&HEAD, rows)?;
        Ok(())
    }
}

fn parse_status(text: &str) -> Result<Status, String> {
    Status::parse(text).ok_or_else(|| format!("it is one of {}", Status::ALL.map(Status::as_str).join(", ")))
}

/// A build as a row of the list.
fn row(build: &Value, now: DateTime<Utc>) -> Vec<Cell> {
    let text = |key: &str| build[key].as_str().unwrap_or_default();
    let commit: String = text("commit").chars().take(10).collect();
    let queued: Option<DateTime<Utc>> = text("queued_at").parse().ok();
    let age = queued.map(|queued| describe_age(now - queued)).unwrap_or_default();
    vec![
        Cell::new(text("id")),
        Cell::state(text("status")),
        Cell::new(format!("{} #{}", text("repository"), build["number"])),
        Cell::new(format!("{} {}", text("source_type"), text("source_name"))),
        Cell::new(commit),
        Cell::new(age),
        Cell::new(tags(build)),
        Cell::new(describe_cause(&build["cause"])),
    ]
}

/// How a build ended, in one line: `team/app #3 succeeded: registry/team/app:latest sha256:...`.
pub fn describe_outcome(build: &Value, colours: bool) -> String {
    let text = |key: &str| build[key].as_str().unwrap_or_default();
    let status = match Colour::of_state(text("status")) {
        Some(colour) if colours => colour.paint(text("status")),
        _ => text("status").to_owned(),
    };
    let head = format!("{} #{} {status}", text("repository"), build["number"]);
    let detail = match build["error"]["message"].as_str() {
        Some(message) => format!("{}: {message}", build["error"]["kind"].as_str().unwrap_or("error")),
        None if text("status") == "succeeded" => format!("{}:{} {}", text("image"), tags(build), text("digest"))
            .trim_end()
            .to_owned(),
        None if text("status") == "skipped" => text("status_reason").to_owned(),
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
    use super::{super::table::lines, *};

    #[test]
    fn an_outcome_says_what_became_of_the_build() {
        let check = |build: Value, expected: &str| assert_eq!(describe_outcome(&build, false), expected);
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
        check(
            json!({"repository": "team/app", "number": 3, "status": "skipped", "error": null,
                "status_reason": "no file was changed since build #2"}),
            "team/app #3 skipped: no file was changed since build #2",
        );
    }

    #[test]
    fn a_row_says_how_long_ago_it_was_and_is_one_line() {
        let build = json!({"id": "b", "status": "queued", "repository": "team/app", "number": 1, "source_type": "branch",
            "source_name": "a\nb", "commit": null, "tags": ["1", "latest"], "queued_at": "2026-01-01T00:00:00.123Z",
            "cause": {"kind": "base_image", "image": "docker.io/library/alpine:3.20", "from": null, "to": "sha256:ab"}});
        let now = "2026-01-01T00:05:30Z".parse().unwrap();
        assert_eq!(
            lines(&[row(&build, now)], false),
            ["b  queued  team/app #1  branch a b    5m  1,latest  new alpine:3.20"]
        );
    }

    #[test]
    fn a_terminal_sees_the_state_in_its_colour() {
        let build = json!({"repository": "team/app", "number": 3, "status": "canceled"});
        assert_eq!(describe_outcome(&build, true), "team/app #3 \x1b[2mcanceled\x1b[0m");
    }
}
