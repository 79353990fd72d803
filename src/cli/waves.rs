//! `hullworks waves`.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    cause::{familiar, short_digest},
    client::Client,
    duration::describe_age,
    failure::Failure,
    output::{Output, note},
    reference::parse_wave_id,
    table::Cell,
};
use crate::{clock::Clock, domain::wave::ItemState};

/// Waves that are listed unless more are asked for.
const DEFAULT_LIMIT: u32 = 20;

const HEAD: [&str; 5] = ["ID", "STATE", "MOVED", "AGE", "BUILDS"];
const ITEMS: [&str; 5] = ["STATE", "REPOSITORY", "SOURCE", "BUILD", "REASON"];

/// List waves: the builds that follow when base images move; pause, resume and cancel them
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Waves {
    #[command(subcommand)]
    action: Option<Action>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what a wave builds again, in the order of building
    Show(Which),
    /// Start nothing more of a running wave until it is resumed
    Pause(Which),
    /// Let a paused wave go on
    Resume(Which),
    /// Cancel a wave with those of its builds that have not ended
    Cancel(Which),
    /// Bound how many builds of a wave may be under way at once
    Limit {
        #[command(flatten)]
        which: Which,
        /// So many; `default` for what the server is set to
        #[arg(value_name = "N", value_parser = parse_at_once)]
        at_once: AtOnce,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The wave's id
    #[arg(value_name = "ID", value_parser = parse_wave_id)]
    wave: String,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
}

/// How many builds at once; `None`: as the server is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AtOnce(Option<u32>);

fn parse_at_once(text: &str) -> Result<AtOnce, String> {
    match text {
        "default" => Ok(AtOnce(None)),
        number => number
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .map(|number| AtOnce(Some(number)))
            .ok_or_else(|| "it is a number from 1 on, or `default`".to_owned()),
    }
}

impl Waves {
    pub async fn run(self, mut out: Output) -> Result<(), Failure> {
        let client = Client::from_environment()?;
        let now = Clock::system().now();
        let steer = async |which: &Which, word: &str| {
            let path = ["waves", which.wave.as_str(), word];
            client.post(&path, &json!({})).await
        };
        let (answer, as_json, words) = match &self.action {
            None => return self.list(&client, &mut out, now).await,
            Some(Action::Show(which)) => {
                let wave = client.get(&["waves", &which.wave], &[]).await?;
                if !which.json {
                    return show(&wave, &mut out, now);
                }
                (wave, true, String::new())
            }
            Some(Action::Pause(which)) => (steer(which, "pause").await?, which.json, "paused".to_owned()),
            Some(Action::Resume(which)) => (steer(which, "resume").await?, which.json, "resumed".to_owned()),
            Some(Action::Cancel(which)) => (steer(which, "cancel").await?, which.json, "canceled".to_owned()),
            Some(Action::Limit { which, at_once }) => {
                let body = json!({ "at_once": at_once.0 });
                let wave = client.put(&["waves", &which.wave], &body).await?;
                let words = match at_once.0 {
                    Some(number) => format!("at most {number} at once"),
                    None => "as many at once as the server is set to".to_owned(),
                };
                (wave, which.json, words)
            }
        };
        match as_json {
            true => out.json(&answer)?,
            false => note(&words),
        }
        Ok(())
    }

    async fn list(&self, client: &Client, out: &mut Output, now: DateTime<Utc>) -> Result<(), Failure> {
        let waves = client.list(&["waves"], &[], Some(self.limit as usize)).await?;
        if self.json {
            out.json(&json!({ "items": waves }))?;
            return Ok(());
        }
        if waves.is_empty() {
            note("there are none");
        }
        out.table(&HEAD, waves.iter().map(|wave| row(wave, now)).collect())?;
        Ok(())
    }
}

fn show(wave: &Value, out: &mut Output, now: DateTime<Utc>) -> Result<(), Failure> {
    out.table(&HEAD, vec![row(wave, now)])?;
    let items = wave["items"].as_array().into_iter().flatten();
    out.table(&ITEMS, items.map(item).collect())?;
    Ok(())
}

/// A wave as a row of the list.
fn row(wave: &Value, now: DateTime<Utc>) -> Vec<Cell> {
    let text = |key: &str| wave[key].as_str().unwrap_or_default();
    let moves = wave["moves"].as_array().into_iter().flatten().map(|moved| {
        let text = |key: &str| moved[key].as_str().unwrap_or_default();
        format!("{} to {}", familiar(text("image")), short_digest(text("to")))
    });
    let created: Option<DateTime<Utc>> = text("created_at").parse().ok();
    // In the order in which they come about.
    let counts = ItemState::ALL.into_iter().filter_map(|state| {
        let count = wave["counts"][state.as_str()].as_i64()?;
        Some(format!("{count} {}", state.as_str()))
    });
    vec![
        Cell::new(text("id")),
        Cell::state(text("state")),
        Cell::new(moves.collect::<Vec<_>>().join(", ")),
        Cell::new(created.map(|created| describe_age(now - created)).unwrap_or_default()),
        Cell::new(counts.collect::<Vec<_>>().join(", ")),
    ]
}

/// What a wave builds again as a row.
fn item(item: &Value) -> Vec<Cell> {
    let text = |key: &str| item[key].as_str().unwrap_or_default();
    let build = &item["build"];
    vec![
        Cell::state(text("state")),
        Cell::new(text("repository")),
        Cell::new(format!("{} {}", text("source_type"), text("source_name"))),
        Cell::new(match build["number"].as_i64() {
            Some(number) => format!("#{number} {}", build["status"].as_str().unwrap_or_default()),
            None => String::new(),
        }),
        Cell::new(text("reason")),
    ]
}

#[cfg(test)]
mod tests {
    use super::{super::table::lines, *};

    #[test]
    fn a_wave_says_what_moved_and_how_far_it_is() {
        let wave = json!({"id": "w1", "state": "running", "created_at": "2026-01-01T00:00:00Z",
            "moves": [{"image": "docker.io/library/alpine:3.20", "to": "sha256:0123456789abcdef"}],
            "counts": {"waiting": 2, "done": 1}});
        let now = "2026-01-01T00:05:00Z".parse().unwrap();
        assert_eq!(
            lines(&[row(&wave, now)], false),
            ["w1  running  alpine:3.20 to 0123456789ab  5m  2 waiting, 1 done"]
        );
    }

    #[test]
    fn an_item_says_its_build_and_why() {
        let held = json!({"state": "held", "repository": "team/app", "source_type": "branch", "source_name": "main",
            "build": null, "reason": "it stands on team/base, which failed"});
        let failed = json!({"state": "failed", "repository": "team/base", "source_type": "branch", "source_name": "main",
            "build": {"id": "b", "number": 3, "status": "failed"}, "reason": "exit code 2"});
        assert_eq!(
            lines(&[item(&failed), item(&held)], false),
            [
                "failed  team/base  branch main  #3 failed  exit code 2",
                "held    team/app   branch main             it stands on team/base, which failed",
            ]
        );
    }

    #[test]
    fn a_bound_is_a_number_or_the_default() {
        assert_eq!(parse_at_once("3"), Ok(AtOnce(Some(3))));
        assert_eq!(parse_at_once("default"), Ok(AtOnce(None)));
        for wrong in ["0", "-1", "x", ""] {
            assert!(parse_at_once(wrong).is_err(), "{wrong}");
        }
    }
}
