//! `hullworks bases`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    cause::{familiar, short_digest},
    client::Client,
    duration::describe_age,
    failure::Failure,
    output::{Output, note},
    reference::parse_repository,
    table::Cell,
};
use crate::{clock::Clock, domain::repository::RepositoryName};

/// Entries that are listed unless more are asked for.
const DEFAULT_LIMIT: u32 = 200;

const OF_REPOSITORY: [&str; 5] = ["IMAGE", "STATE", "FOUND", "NOW", "SEEN"];
const WATCHED: [&str; 5] = ["IMAGE", "NOW", "STANDING", "OUTDATED", "SEEN"];
const OUTDATED: [&str; 6] = ["REPOSITORY", "SOURCE", "IMAGE", "BEHIND", "USED", "NOW"];

/// List base images: what a repository stands on, all that are watched, or what stands on old ones
#[derive(Debug, clap::Args)]
pub struct Bases {
    /// What this repository stands on
    #[arg(value_name = "NS/NAME", value_parser = parse_repository)]
    repository: Option<RepositoryName>,
    /// Images that stand on older versions of what they were built on, the longest first
    #[arg(long, conflicts_with = "repository")]
    outdated: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

impl Bases {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let path = match &self.repository {
            Some(name) => vec!["repositories", name.namespace(), name.name(), "base-images"],
            None if self.outdated => vec!["outdated"],
            None => vec!["base-images"],
        };
        let found = client.list(&path, &[], Some(self.limit as usize)).await?;
        if self.json {
            out.json(&json!({ "items": found }))?;
            return Ok(());
        }
        if found.is_empty() {
            note("there are none");
        }
        let now = Clock::system().now();
        let rows = |row: fn(&Value, DateTime<Utc>) -> Vec<Cell>| found.iter().map(|entry| row(entry, now)).collect();
        match (&self.repository, self.outdated) {
            (Some(_), _) => out.table(&OF_REPOSITORY, rows(of_repository))?,
            (None, true) => out.table(&OUTDATED, rows(outdated))?,
            (None, false) => out.table(&WATCHED, rows(watched))?,
        }
        Ok(())
    }
}

/// A base of a repository as a row.
fn of_repository(base: &Value, now: DateTime<Utc>) -> Vec<Cell> {
    let is = |key: &str| base[key].as_bool().unwrap_or_default();
    let found = match (is("detected"), is("linked")) {
        (true, true) => "detected, linked",
        (false, true) => "linked",
        (true, false) => "detected",
        (false, false) => "",
    };
    vec![
        Cell::new(text(base, "familiar")),
        Cell::new(state(base, now)),
        Cell::new(found),
        Cell::new(short_digest(text(base, "current"))),
        Cell::new(seen(base, now)),
    ]
}

/// How a base is for a repository, in words.
fn state(base: &Value, now: DateTime<Utc>) -> String {
    let is = |key: &str| base[key].as_bool().unwrap_or_default();
    match text(base, "watch") {
        _ if is("ignored") => "switched off".to_owned(),
        _ if is("pinned") => "pinned, never moves".to_owned(),
        _ if is("outdated") => format!("behind {}", age(base, "behind_since", now))
            .trim_end()
            .to_owned(),
        "hidden" => "watched for members".to_owned(),
        "not_yet" => "not watched yet: nothing was built on it".to_owned(),
        _ if !is("followed") => "not followed".to_owned(),
        _ if base["current"].is_null() => "not seen yet".to_owned(),
        _ => "up to date".to_owned(),
    }
}

/// A watched image as a row.
fn watched(image: &Value, now: DateTime<Utc>) -> Vec<Cell> {
    let mut name = text(image, "familiar").to_owned();
    if let Some(access) = image["access"].as_str() {
        name.push_str(&format!(" (as {access})"));
    }
    vec![
        Cell::new(name),
        Cell::new(short_digest(text(image, "current"))),
        Cell::new(image["targets"].to_string()),
        Cell::new(image["outdated"].to_string()),
        Cell::new(seen(image, now)),
    ]
}

/// Something on an old version as a row.
fn outdated(entry: &Value, now: DateTime<Utc>) -> Vec<Cell> {
    vec![
        Cell::new(text(entry, "repository")),
        Cell::new(format!("{} {}", text(entry, "source_type"), text(entry, "source_name"))),
        Cell::new(familiar(text(entry, "base"))),
        Cell::new(age(entry, "behind_since", now)),
        Cell::new(short_digest(text(entry, "used"))),
        Cell::new(short_digest(text(entry, "current"))),
    ]
}

/// When the registry last answered and what is wrong, if something is.
fn seen(image: &Value, now: DateTime<Utc>) -> String {
    let ago = match age(image, "checked_at", now) {
        age if age.is_empty() => String::new(),
        age => format!("{age} ago"),
    };
    let wrong = match (image["problem"].as_str(), image["gone_since"].as_str()) {
        (Some(problem), _) => format!("failed: {problem}"),
        (None, Some(_)) => format!("gone since {}", age(image, "gone_since", now)),
        (None, None) => return ago,
    };
    match ago.is_empty() {
        true => wrong,
        false => format!("{ago}, {wrong}"),
    }
}

fn age(entry: &Value, key: &str, now: DateTime<Utc>) -> String {
    let since: Option<DateTime<Utc>> = text(entry, key).parse().ok();
    since.map(|since| describe_age(now - since)).unwrap_or_default()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::table::lines, *};

    fn now() -> DateTime<Utc> {
        "2026-01-04T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_base_of_a_repository_says_how_it_stands() {
        let base = |more: Value| {
            let mut base = json!({"familiar": "alpine:3.20", "detected": true, "linked": false, "ignored": false, "pinned": false,
                "followed": true, "watch": "watched", "current": "sha256:0123456789abcdef", "outdated": false,
                "behind_since": null, "checked_at": "2026-01-03T23:00:00Z", "problem": null, "gone_since": null});
            for (key, value) in more.as_object().unwrap() {
                base[key] = value.clone();
            }
            state(&base, now())
        };
        assert_eq!(base(json!({})), "up to date");
        assert_eq!(
            base(json!({"outdated": true, "behind_since": "2026-01-01T00:00:00Z"})),
            "behind 3d"
        );
        assert_eq!(base(json!({"ignored": true})), "switched off");
        assert_eq!(base(json!({"pinned": true})), "pinned, never moves");
        assert_eq!(base(json!({"current": null})), "not seen yet");
        assert_eq!(base(json!({"followed": false})), "not followed");
        assert!(base(json!({"watch": "not_yet"})).starts_with("not watched yet"));
    }

    #[test]
    fn a_watched_image_says_who_stands_on_it_and_what_is_wrong() {
        let image = json!({"familiar": "alpine:3.20", "access": "team", "current": "sha256:0123456789abcdef", "targets": 4,
            "outdated": 1, "checked_at": "2026-01-03T23:00:00Z", "problem": "it answers 500", "gone_since": null});
        assert_eq!(
            lines(&[watched(&image, now())], false),
            ["alpine:3.20 (as team)  0123456789ab  4  1  1h ago, failed: it answers 500"]
        );
    }
}
