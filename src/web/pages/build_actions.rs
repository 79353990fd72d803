//! Stopping a build and starting it again, from any page that shows it.

use axum::{Router, extract::State, response::Response, routing::post};
use serde::Deserialize;

use super::{answer::Answer, form::Submitted, notice::Notice, page::local_path};
use crate::{
    intake::RetryInputs,
    web::{
        Web,
        api::builds::{cancel_build, retry_build, writable_build},
        audit::Origin,
        parameters::{Query, Segments},
        problem::Problem,
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/builds/{id}/cancel", post(cancel))
        .route("/builds/{id}/retry", post(retry))
}

#[derive(Deserialize)]
struct CancelFields {
    /// Where to go on; the build's own page where it is left out.
    next: Option<String>,
}

async fn cancel(
    State(web): State<Web>,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    answer: Answer,
    origin: Origin,
    Submitted { viewer, form }: Submitted<CancelFields>,
) -> Result<Response, Problem> {
    let (build, user) = writable_build(&web, &viewer.caller, &id).await?;
    let page = format!("/builds/{}", build.id);
    let next = form.next.as_deref().map_or(page.as_str(), local_path);
    let name = format!("{} #{}", build.repository, build.number);
    // That it has ended meanwhile is no mistake of whoever saw it run.
    let notice = match cancel_build(&web, &build, origin.actor(&user.name)).await {
        Ok(()) => Notice::good(format!("{name} is canceled.")),
        Err(problem) if problem.status() == http::StatusCode::CONFLICT => {
            Notice::bad(format!("{name} was not canceled: {}.", problem.detail()))
        }
        Err(problem) => return Err(problem),
    };
    Ok(answer.done(next, &notice))
}

#[derive(Deserialize)]
struct RetryFields {
    #[serde(default)]
    inputs: Inputs,
}

/// What a retry builds.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Inputs {
    #[default]
    Same,
    Refresh,
}

async fn retry(
    State(web): State<Web>,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    answer: Answer,
    origin: Origin,
    Submitted { viewer, form }: Submitted<RetryFields>,
) -> Result<Response, Problem> {
    let (build, user) = writable_build(&web, &viewer.caller, &id).await?;
    let inputs = match form.inputs {
        Inputs::Same => RetryInputs::Same,
        Inputs::Refresh => RetryInputs::Refresh,
    };
    let old = format!("/builds/{}", build.id);
    let accepted = match retry_build(&web, &build, inputs, origin.actor(&user.name)).await {
        Ok(accepted) => accepted,
        Err(problem) if problem.status() == http::StatusCode::CONFLICT => {
            let notice = Notice::bad(format!("It was not tried again: {}.", problem.detail()));
            return Ok(answer.done(&old, &notice));
        }
        Err(problem) => return Err(problem),
    };
    Ok(match accepted.queued.first() {
        Some(new) => {
            let notice = Notice::good(format!("Queued as #{}.", new.number));
            answer.done(&format!("/builds/{}", new.id), &notice)
        }
        None => answer.done(
            &old,
            &Notice::bad(format!("It was not tried again: {}.", accepted.reason)),
        ),
    })
}
