//! Builds without a push, when the time comes that a rule's schedule names.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Intake, IntakeError, decide, writer::Overloaded};
use crate::{
    domain::{delivery::Outcome, image::ImageReference, repository::Repository, rule::Rule, schedule::Schedule},
    store::{Accepted, LiveRef, NewDelivery, StoreError, TakenTime},
};

/// By which name the ledger knows what a schedule starts.
const PROVIDER: &str = "schedule";

/// What starts later than this after its time was missed, and says so.
const LATE: TimeDelta = TimeDelta::minutes(5);

/// Most tags of a pattern that one start builds again, and most refs: a rule of a thousand versions must not fill the queue.
const MOST_TAGS: u32 = 1000;
const MOST_REFS: usize = 100;

impl Intake {
    /// Starts what a rule's schedule is due for since `due`, once, however often it was missed.
    ///
    /// `None`: somebody else started it, or the rule is due at another time by now.
    pub async fn scheduled(
        &self,
        repository: &Repository,
        rule: &Rule,
        schedule: &Schedule,
        due: DateTime<Utc>,
    ) -> Result<Option<Accepted>, IntakeError> {
        let image = self.image_of(repository);
        let live = match rule.literal_source() {
            Some(_) => vec![],
            None => self.live_refs(repository, rule, &image).await?,
        };
        let left_out = live.len().saturating_sub(MOST_REFS);
        let live = live.into_iter().take(MOST_REFS).collect();
        let (requests, mut decided) = decide::by_schedule(rule, schedule, &image, live);
        if left_out > 0 {
            let reason = format!("only the {MOST_REFS} refs that were pushed last are built; {left_out} more are not");
            decided.push((Outcome::Skipped, reason));
        }
        let click = self.click(repository, PROVIDER);
        let now = click.received_at;
        if now - due > LATE {
            let time = due.format("%Y-%m-%d %H:%M UTC");
            let reason = match schedule.next_after(due) {
                Some(next) if next <= now => format!("missed since {time}, and made up for once"),
                _ => format!("missed at {time}, and made up for"),
            };
            decided.push((Outcome::Ignored, reason));
        }
        let first = requests.first();
        let delivery = NewDelivery {
            provider: PROVIDER.to_owned(),
            source_name: first.map(|request| request.source_name.clone()),
            commit: first.and_then(|request| request.commit.clone()),
            decided,
            takes: Some(TakenTime {
                rule: rule.id.clone(),
                at: due,
                next: schedule.next_after(now),
            }),
            ..click
        };
        Ok(self.writer.record(NewDelivery { requests, ..delivery }).await?)
    }

    /// The refs of which the image still has tags by this rule.
    async fn live_refs(&self, repository: &Repository, rule: &Rule, image: &str) -> Result<Vec<LiveRef>, IntakeError> {
        // Tags are kept by the image's full name.
        let image = ImageReference::parse(image).map_or_else(|_| image.to_owned(), |image| image.name());
        let found = self.store.live_refs(&repository.id, &rule.id, &image, MOST_TAGS).await;
        Ok(found.map_err(unusable)?)
    }
}

fn unusable(error: StoreError) -> Overloaded {
    tracing::error!(%error, "failed to look up what a schedule builds");
    Overloaded::Database("the database cannot be read now".to_owned())
}
