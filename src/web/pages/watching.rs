//! How a repository's source is watched, as its page says it, and the button that has it looked at now.

use axum::{Router, extract::State, response::Response, routing::post};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    answer::Answer,
    form::Submitted,
    notice::Notice,
    repository_head::path_of,
    words::{When, counted},
};
use crate::{
    domain::access::Role,
    web::{
        Web,
        api::polls::{Watching, ask_for_poll},
        auth::repository_for,
        parameters::{Query, Segments},
        problem::Problem,
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/r/{namespace}/{name}/look", post(look))
}

/// What the page says.
pub struct WatchingCard {
    pub how: String,
    pub is_looked_at: bool,
    pub last: Option<When>,
    pub problem: Option<String>,
}

impl WatchingCard {
    pub fn new(watching: Watching, now: DateTime<Utc>) -> Self {
        Self {
            how: how(&watching),
            is_looked_at: watching.is_looked_at,
            last: watching.last_look_at.map(|at| When::new(at, now)),
            problem: watching.problem.filter(|_| watching.is_looked_at),
        }
    }
}

fn how(watching: &Watching) -> String {
    let every = every(watching.every_seconds);
    match (watching.by_webhook, watching.is_looked_at) {
        (true, true) => format!("by webhook, and looked at {every}"),
        (true, false) => "by webhook".to_owned(),
        (false, true) => format!("looked at {every}: no webhook has come lately"),
        (false, false) => "no webhook has come lately, and it is not looked at".to_owned(),
    }
}

/// `hourly`, `every 2 minutes`.
fn every(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    match seconds {
        3600 => "hourly".to_owned(),
        60 => "every minute".to_owned(),
        _ if seconds % 3600 == 0 => format!("every {}", counted(seconds / 3600, "hour")),
        _ if seconds % 60 == 0 => format!("every {}", counted(seconds / 60, "minute")),
        _ => format!("every {}", counted(seconds, "second")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookFields {}

async fn look(
    State(web): State<Web>,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    answer: Answer,
    Submitted { viewer, form }: Submitted<LookFields>,
) -> Result<Response, Problem> {
    let LookFields {} = form;
    let (repository, _) = repository_for(&web, &viewer.caller, &name, Role::Write).await?;
    ask_for_poll(&web, &repository).await?;
    let said = "The source is looked at within seconds. What was pushed and not built is built then.";
    Ok(answer.done(&path_of(&repository), &Notice::good(said)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_source_is_watched_is_said_in_a_few_words() {
        for (by_webhook, is_looked_at, every_seconds, expected) in [
            (true, true, 3600, "by webhook, and looked at hourly"),
            (
                false,
                true,
                120,
                "looked at every 2 minutes: no webhook has come lately",
            ),
            (
                false,
                true,
                90,
                "looked at every 90 seconds: no webhook has come lately",
            ),
            (true, true, 7200, "by webhook, and looked at every 2 hours"),
            (true, false, 60, "by webhook"),
            (false, false, 60, "no webhook has come lately, and it is not looked at"),
        ] {
            let watching = Watching {
                by_webhook,
                is_looked_at,
                every_seconds,
                last_look_at: None,
                next_look_at: None,
                problem: None,
            };
            assert_eq!(how(&watching), expected);
        }
    }
}
