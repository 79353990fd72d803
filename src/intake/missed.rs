//! Builds of pushes that no webhook told of, found by a look at the source.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};

use super::{Intake, IntakeError, decide, writer::Overloaded};
use crate::{
    domain::{
        build::{Before, Cause, CauseKind},
        delivery::Outcome,
        event::{ChangeKind, EventKind},
        ids::{BuildId, DeliveryId},
        remote_refs::{Changed, RemoteRef},
        repository::{Provider, Repository},
        rule::SourceType,
    },
    forge::VerifiedDelivery,
    store::{Accepted, BuildRequest, Delivery, DeliveryBody, DeliveryFilter, Known, NewDelivery, StoreError},
};

/// By which name the ledger knows what a look finds.
const PROVIDER: &str = "poll";

/// Most builds that one entry of the ledger leads to; more take several.
const MOST_IN_ONE: usize = 500;

/// Refs that are named one by one in a reason.
const MOST_NAMED: usize = 5;

/// Deliveries that are read at once, and most that are read to find out what webhooks told.
const PAGE: u32 = 50;
const MOST_READ: u32 = 500;

/// A branch or tag with one of its commits, or of a tag's objects.
type Told = (SourceType, String, String);

impl Intake {
    /// Builds what changed and what no webhook told of since a moment. Where all of it is known, nothing is recorded.
    ///
    /// A change is known if anything was built of it since, however that ended, or if a webhook told of it, whatever was
    /// made of that.
    pub async fn missed(
        &self,
        repository: &Repository,
        changed: Vec<Changed>,
        since: DateTime<Utc>,
    ) -> Result<Vec<Accepted>, IntakeError> {
        let unbuilt = self.unbuilt(repository, changed, since).await.map_err(unusable)?;
        let missed = self.untold(repository, unbuilt, since).await.map_err(unusable)?;
        let mut accepted = Vec::new();
        // Of like sizes, so that none of them looks like the few that somebody waits for.
        let size = missed.len().div_ceil(missed.len().div_ceil(MOST_IN_ONE).max(1)).max(1);
        for part in missed.chunks(size) {
            accepted.push(self.build_missed(repository, part).await?);
        }
        Ok(accepted)
    }

    async fn build_missed(&self, repository: &Repository, missed: &[Changed]) -> Result<Accepted, IntakeError> {
        let image = self.image_of(repository);
        let requests: Vec<BuildRequest> = missed
            .iter()
            .filter_map(|changed| {
                let rule = repository.rules.iter().find(|rule| rule.id == changed.rule)?;
                Some(BuildRequest {
                    id: BuildId::new(),
                    rule_id: rule.id.clone(),
                    source_type: changed.now.source_type,
                    source_name: changed.now.name.clone(),
                    commit: Some(changed.now.commit.clone()),
                    commit_message: None,
                    cause: Cause::Poll,
                    plan: decide::plan(rule, changed.tags.clone(), image.clone()),
                    push_order: None,
                    unless_under_way: true,
                    before: decide::may_be_skipped(rule, changed.now.source_type)
                        .then(|| changed.before.clone().map_or(Before::Nothing, Before::Commit)),
                })
            })
            .collect();
        let first = missed.first().map(|changed| &changed.now);
        self.record(NewDelivery {
            provider: PROVIDER.to_owned(),
            source_name: first.map(|first| first.name.clone()),
            commit: first.map(|first| first.commit.clone()),
            decided: vec![(Outcome::Ignored, reason(missed))],
            requests,
            ..self.click(repository, PROVIDER)
        })
        .await
    }

    /// The changes of which nothing was built.
    async fn unbuilt(
        &self,
        repository: &Repository,
        changed: Vec<Changed>,
        since: DateTime<Utc>,
    ) -> Result<Vec<Changed>, StoreError> {
        let mut refs: BTreeMap<String, Vec<Changed>> = BTreeMap::new();
        for changed in changed {
            let full = changed.now.source_type.full_ref(&changed.now.name);
            refs.entry(full).or_default().push(changed);
        }
        let mut unbuilt = Vec::new();
        for changed in refs.into_values() {
            let Some(RemoteRef { source_type, name, .. }) = changed.first().map(|first| &first.now) else {
                continue;
            };
            let builds = self
                .store
                .builds_of_ref(&repository.id, *source_type, name, since)
                .await?;
            unbuilt.extend(
                changed
                    .into_iter()
                    .filter(|changed| !builds.iter().any(|build| is_of(build, changed))),
            );
        }
        Ok(unbuilt)
    }

    /// The changes of which no webhook told.
    async fn untold(
        &self,
        repository: &Repository,
        changed: Vec<Changed>,
        since: DateTime<Utc>,
    ) -> Result<Vec<Changed>, StoreError> {
        let mut changed = changed;
        let mut page = DeliveryFilter {
            limit: PAGE,
            ..DeliveryFilter::default()
        };
        let mut read = 0;
        while !changed.is_empty() && read < MOST_READ {
            let deliveries = self.store.deliveries(&repository.id, &page).await?;
            for delivery in deliveries.iter().filter(|delivery| delivery.received_at >= since) {
                let told = self.told_by(repository, &delivery.id).await?;
                changed.retain(|changed| !is_told(&told, &changed.now));
            }
            match deliveries.last() {
                Some(last) if deliveries.len() == PAGE as usize && last.received_at >= since => {
                    page.before = Some(last.id.clone());
                }
                _ => break,
            }
            read += PAGE;
        }
        Ok(changed)
    }

    /// What a delivery told of, if it was a webhook.
    async fn told_by(&self, repository: &Repository, id: &DeliveryId) -> Result<HashSet<Told>, StoreError> {
        let found = self.store.delivery(&repository.id, id).await?;
        let told = found.and_then(|(delivery, body)| told(&delivery, &body?));
        Ok(told.unwrap_or_default())
    }
}

/// Every ref that a stored webhook tells of; `None`: it is none, or tells of no push.
fn told(delivery: &Delivery, body: &DeliveryBody) -> Option<HashSet<Told>> {
    let provider = Provider::parse(&delivery.provider)?;
    let bytes = zstd::decode_all(body.body.as_slice()).ok()?;
    let stored = VerifiedDelivery::from_ledger(
        provider,
        delivery.event.clone(),
        delivery.delivery_id.clone().unwrap_or_default(),
        body.content_type.as_deref().unwrap_or_default(),
        bytes.into(),
    );
    let EventKind::Push(push) = stored.ok()?.parse().ok()?.kind else {
        return None;
    };
    let told = push.changes.into_iter().filter_map(|change| match change.kind {
        ChangeKind::Updated { commit, .. } => Some((change.source_type, change.name, commit)),
        ChangeKind::Deleted => None,
    });
    Some(told.collect())
}

fn is_told(told: &HashSet<Told>, now: &RemoteRef) -> bool {
    [&now.commit, &now.object]
        .into_iter()
        .any(|name| told.contains(&(now.source_type, now.name.clone(), name.clone())))
}

/// Whether a build is of what changed. A push was held against all rules, and so was a look; everything else may have been
/// about one.
fn is_of(build: &Known, changed: &Changed) -> bool {
    let is_for_rule = build.rule == changed.rule || matches!(build.cause, CauseKind::Push | CauseKind::Poll);
    let is_same = match &build.commit {
        Some(commit) => *commit == changed.now.commit || *commit == changed.now.object,
        // It takes what the ref points to when it starts.
        None => build.is_queued,
    };
    is_for_rule && is_same
}

fn reason(missed: &[Changed]) -> String {
    let refs: BTreeSet<&str> = missed.iter().map(|changed| changed.now.name.as_str()).collect();
    let named: Vec<&str> = refs.iter().take(MOST_NAMED).copied().collect();
    let mut reason = format!("no webhook told of {}", named.join(", "));
    if refs.len() > MOST_NAMED {
        reason.push_str(&format!(" and {} more", refs.len() - MOST_NAMED));
    }
    if missed.len() > crate::domain::remote_refs::MANY {
        reason.push_str("; as they are many, they wait behind other builds");
    }
    reason
}

fn unusable(error: StoreError) -> Overloaded {
    tracing::error!(%error, "failed to look up what was built of a source");
    Overloaded::Database("the database cannot be read now".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::RuleId;

    fn changed(rule: &str, name: &str) -> Changed {
        Changed {
            rule: RuleId::from(rule),
            tags: vec!["latest".to_owned()],
            now: RemoteRef {
                source_type: SourceType::Tag,
                name: name.to_owned(),
                commit: "commit".to_owned(),
                object: "object".to_owned(),
            },
            before: None,
        }
    }

    #[test]
    fn what_counts_as_built_depends_on_who_asked_for_it_and_of_which_commit() {
        let cases = [
            ("one", CauseKind::Push, Some("commit"), false, true),
            ("one", CauseKind::Manual, Some("commit"), false, true),
            ("one", CauseKind::Push, Some("object"), false, true),
            ("one", CauseKind::Push, Some("another"), false, false),
            ("another", CauseKind::Push, Some("commit"), false, true),
            ("another", CauseKind::Poll, Some("commit"), false, true),
            ("another", CauseKind::Manual, Some("commit"), false, false),
            ("another", CauseKind::BaseImage, Some("commit"), false, false),
            ("one", CauseKind::Manual, None, true, true),
            ("one", CauseKind::Manual, None, false, false),
            ("another", CauseKind::Schedule, None, true, false),
        ];
        for (rule, cause, commit, is_queued, expected) in cases {
            let build = Known {
                rule: RuleId::from(rule),
                cause,
                commit: commit.map(str::to_owned),
                is_queued,
            };
            assert_eq!(is_of(&build, &changed("one", "v1")), expected, "{build:?}");
        }
    }

    #[test]
    fn a_webhook_told_of_a_tag_by_its_commit_or_by_its_object() {
        for (name, commit, expected) in [
            ("v1", "commit", true),
            ("v1", "object", true),
            ("v1", "another", false),
            ("v2", "commit", false),
        ] {
            let told = HashSet::from([(SourceType::Tag, name.to_owned(), commit.to_owned())]);
            assert_eq!(is_told(&told, &changed("one", "v1").now), expected, "{name} {commit}");
        }
    }

    #[test]
    fn the_reason_names_a_few_refs_each_once_and_counts_the_rest() {
        assert_eq!(
            reason(&[changed("one", "v1"), changed("two", "v1"), changed("one", "v2")]),
            "no webhook told of v1, v2"
        );
        let many: Vec<Changed> = (0..101).map(|n| changed("one", &format!("v{n:03}"))).collect();
        assert_eq!(
            reason(&many),
            "no webhook told of v000, v001, v002, v003, v004 and 96 more; as they are many, they wait behind other builds"
        );
    }
}
