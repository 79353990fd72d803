//! Starts builds when the times come that rules' schedules name. When a rule is due is kept in the store: what was missed is
//! started once, and of several servers one starts it.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    intake::{Intake, IntakeError},
    signals::Signals,
    store::{DueRule, Store, StoreError},
};

/// How often to look without being told: for schedules that were changed in another process, and clocks that were set.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How often the times that rules are due at are held against their schedules.
const PUT_RIGHT_EVERY: Duration = Duration::from_secs(3600);

/// Rules read at once.
const AT_ONCE: u32 = 50;

/// What the scheduler works with.
#[derive(Clone)]
pub struct SchedulerParts {
    pub store: Store,
    pub intake: Intake,
    pub clock: Clock,
    pub signals: Signals,
}

/// Works until `shutdown`.
pub async fn run(parts: SchedulerParts, shutdown: CancellationToken) {
    let mut looked_at = parts.clock.now();
    let mut put_right_at: Option<Instant> = None;
    loop {
        let changed = parts.signals.on_schedule_change(LOOK_EVERY);
        let now = parts.clock.now();
        // A clock that was set back leaves times that lie too far ahead.
        let was_set_back = now < looked_at;
        looked_at = now;
        if was_set_back || put_right_at.is_none_or(|at| at.elapsed() >= PUT_RIGHT_EVERY) {
            match put_right(&parts).await {
                Ok(()) => put_right_at = Some(Instant::now()),
                Err(error) => tracing::error!(%error, "failed to check when schedules are due"),
            }
        }
        let pause = match start_due(&parts, &shutdown).await {
            Ok(next) => next.map_or(LOOK_EVERY, |next| until(next, parts.clock.now())),
            Err(error) => {
                tracing::error!(%error, "failed to look for schedules that are due");
                LOOK_EVERY
            }
        };
        let changed = pin!(changed);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changed => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// How long to wait for a moment. What is due already failed to start, and is tried again later.
fn until(next: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    match (next - now).to_std() {
        Ok(distance) if !distance.is_zero() => distance.min(LOOK_EVERY),
        _ => LOOK_EVERY,
    }
}

/// Starts everything that is due; answers when the next is.
pub async fn start_due(
    parts: &SchedulerParts,
    shutdown: &CancellationToken,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    while !shutdown.is_cancelled() {
        let due = parts.store.due_rules(parts.clock.now(), AT_ONCE).await?;
        let mut has_progressed = false;
        for due in &due {
            match start_one(parts, due).await {
                Ok(is_started) => has_progressed |= is_started,
                // It stays due.
                Err(error) => tracing::error!(%error, rule = %due.rule, "failed to start what a schedule is due for"),
            }
        }
        if !has_progressed || due.len() < AT_ONCE as usize {
            break;
        }
    }
    parts.store.next_due().await
}

/// Why what is due could not be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

/// Whether it was started here: another server may have, or somebody changed the rule meanwhile.
async fn start_one(parts: &SchedulerParts, due: &DueRule) -> Result<bool, StartError> {
    let Some(found) = parts.store.repository(&due.repository).await? else {
        return Ok(false);
    };
    let repository = found.repository;
    if let Some(rule) = repository.rules.iter().find(|rule| rule.id == due.rule)
        && let Some(schedule) = &rule.schedule
        && let Some(accepted) = parts.intake.scheduled(&repository, rule, schedule, due.at).await?
    {
        tracing::info!(
            repository = %repository.name, rule = %rule.id, outcome = accepted.outcome.as_str(), reason = accepted.reason,
            "a schedule was due"
        );
        return Ok(true);
    }
    Ok(false)
}

/// Sets right when rules are due that are not: a clock that was wrong, or another database of time zones, leaves times that
/// no schedule names.
async fn put_right(parts: &SchedulerParts) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let rules = parts.store.scheduled_rules(after.as_ref(), AT_ONCE).await?;
        let now = parts.clock.now();
        for rule in &rules {
            let next = rule.schedule.next_after(now);
            // What is due is to be started, not forgotten.
            let is_due = rule.next_at.is_some_and(|at| at <= now);
            if !is_due && rule.next_at != next {
                tracing::warn!(rule = %rule.rule, was = ?rule.next_at, is = ?next, "a schedule was due at the wrong time");
                parts.store.put_right(rule, next).await?;
            }
        }
        match rules.last() {
            Some(last) if rules.len() == AT_ONCE as usize => after = Some(last.rule.clone()),
            _ => return Ok(()),
        }
    }
}
