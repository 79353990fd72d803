//! What administrators do with waves: pause, resume, bound, cancel. A wave goes across namespaces, so that nobody else may.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    domain::{audit::Action, ids::WaveId},
    store::Wave,
    web::{Web, api::builds::cancel_build, audit::Origin, auth::Caller, problem::Problem, registries::WHOLE_SERVER},
};

/// Most builds of a wave that may be under way at once.
const MOST_AT_ONCE: i64 = 1_000;

/// Pauses a running wave, or resumes a paused one. 409 if it is not in such a state.
pub async fn pause(web: &Web, (caller, origin): (&Caller, &Origin), id: &str, pause: bool) -> Result<(), Problem> {
    let wave = steerable(web, caller, id).await?;
    let user = caller.admin()?;
    if !web.store.pause_wave(&wave.id, pause, &user.name).await? {
        let wanted = if pause { "running" } else { "paused" };
        return Err(not_so(&wave, &format!("only a {wanted} wave can be {}", word(pause))));
    }
    let action = match pause {
        true => Action::WavePaused,
        false => Action::WaveResumed,
    };
    done(web, caller, origin, (action, &wave), json!({})).await
}

/// Bounds how many builds of an open wave may be under way at once; `None`: as the server is set.
pub async fn throttle(
    web: &Web,
    (caller, origin): (&Caller, &Origin),
    id: &str,
    at_once: Option<i64>,
) -> Result<(), Problem> {
    let wave = steerable(web, caller, id).await?;
    if at_once.is_some_and(|at_once| !(1..=MOST_AT_ONCE).contains(&at_once)) {
        let message = format!("it is a number from 1 to {MOST_AT_ONCE}, or null for what the server is set to");
        return Err(Problem::field("at_once", message));
    }
    if !web.store.throttle_wave(&wave.id, at_once).await? {
        return Err(not_so(&wave, "it can no longer be changed"));
    }
    done(
        web,
        caller,
        origin,
        (Action::WaveThrottled, &wave),
        json!({ "at_once": at_once }),
    )
    .await
}

/// Cancels an open wave with those of its builds that have not ended.
pub async fn cancel(web: &Web, (caller, origin): (&Caller, &Origin), id: &str) -> Result<(), Problem> {
    let wave = steerable(web, caller, id).await?;
    let user = caller.admin()?;
    let canceled = web.store.cancel_wave(&wave.id, &user.name, web.clock.now()).await?;
    let under_way = canceled.ok_or_else(|| not_so(&wave, "it cannot be canceled any more"))?;
    done(
        web,
        caller,
        origin,
        (Action::WaveCanceled, &wave),
        json!({ "builds": under_way.len() }),
    )
    .await?;
    for build in under_way {
        let Some(build) = web.store.build(&build).await? else {
            continue;
        };
        match cancel_build(web, &build, origin.actor(&user.name)).await {
            // It ended meanwhile.
            Err(problem) if problem.status() == StatusCode::CONFLICT => {}
            other => other?,
        }
    }
    Ok(())
}

/// A wave, if the caller may steer it: 401 without a credential, 403 for all but administrators, 404 if there is none.
pub async fn steerable(web: &Web, caller: &Caller, id: &str) -> Result<Wave, Problem> {
    caller.admin()?;
    let wave = web.store.wave(&WaveId::from(id)).await?;
    wave.ok_or_else(|| Problem::not_found("wave"))
}

fn word(pause: bool) -> &'static str {
    if pause { "paused" } else { "resumed" }
}

fn not_so(wave: &Wave, why: &str) -> Problem {
    Problem::conflict(format!("the wave is {}: {why}", wave.state.as_str()))
}

async fn done(
    web: &Web,
    caller: &Caller,
    origin: &Origin,
    (action, wave): (Action, &Wave),
    detail: Value,
) -> Result<(), Problem> {
    web.signals.base_images_changed();
    let actor = origin.actor(&caller.user()?.name);
    web.note(actor.did(action, wave.id.as_str(), WHOLE_SERVER, detail))
        .await;
    Ok(())
}
