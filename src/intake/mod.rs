//! From an event to queued builds: webhooks, clicks, retries, replays, schedules, looks at sources, and what follows from base
//! images.
//! Everything that starts a build goes through [`Intake`], and is recorded in the ledger together with what it led to.
//! Reports of registries start none by themselves.

mod decide;
mod missed;
mod rebuild;
mod registry_event;
mod scheduled;
mod webhook;
mod writer;

use std::{sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    domain::{
        build::{Cause, Plan},
        delivery::Outcome,
        ids::{BuildId, DeliveryId, RuleId},
        repository::Repository,
        rule::SourceType,
        source_url::SourcePolicy,
    },
    signals::Signals,
    store::{Accepted, Build, BuildRequest, NewDelivery, Store},
    vault::Vault,
};

use self::{decide::plan, writer::Writer};
pub use self::{
    decide::{Preview, PreviewMatch, preview, preview_rule},
    rebuild::Rebuild,
    registry_event::{RegistryEvent, RegistryHook},
    webhook::{Hook, WebhookAnswer, WebhookError},
    writer::Overloaded,
};
pub use crate::forge::Rejection;

/// Bodies are kept compressed; fast beats small here, as this is on the way to the answer.
const BODY_COMPRESSION_LEVEL: i32 = 1;

/// Accepts what starts builds. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    store: Store,
    vault: Arc<Vault>,
    clock: Clock,
    settings: IntakeSettings,
    signals: Signals,
    writer: Writer,
}

/// What intake needs of the configuration.
#[derive(Debug, Clone)]
pub struct IntakeSettings {
    pub source_policy: SourcePolicy,
    pub default_registry: Option<String>,
}

/// Which rules a person wants to build. Everything empty: every rule with a literal ref.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trigger {
    /// A branch or tag; the rules that match it build.
    pub source: Option<(SourceType, String)>,
    /// Only rules whose tags, for their ref, include this one.
    pub docker_tag: Option<String>,
    /// This commit instead of what the ref points to.
    pub commit: Option<String>,
    /// Without cache, whatever the rule says.
    pub no_cache: bool,
    /// Only this rule.
    pub rule: Option<RuleId>,
}

/// What a trigger led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triggered {
    pub accepted: Accepted,
    /// The rules that do not build, and why.
    pub not_built: Vec<(RuleId, String)>,
}

/// What a retry builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryInputs {
    /// The same commit on the same base images, at the old place in the order of pushes.
    Same,
    /// What the ref points to now.
    Refresh,
}

/// Why something that was asked for could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// Try again in a moment.
    #[error("{0}")]
    Overloaded(#[from] Overloaded),
    /// What it is about was deleted meanwhile.
    #[error("the repository is gone")]
    Gone,
    /// It cannot be done, and why.
    #[error("{0}")]
    Refused(String),
}

impl Intake {
    /// Starts the writer that records deliveries; it ends when the last clone is dropped.
    pub fn start(store: Store, vault: Arc<Vault>, clock: Clock, signals: Signals, settings: IntakeSettings) -> Self {
        let writer = Writer::start(store.clone(), signals.clone());
        Self {
            store,
            vault,
            clock,
            settings,
            signals,
            writer,
        }
    }

    /// Starts builds by hand.
    pub async fn trigger(
        &self,
        repository: &Repository,
        trigger: &Trigger,
        user: &str,
    ) -> Result<Triggered, IntakeError> {
        let cause = Cause::Manual { user: user.to_owned() };
        self.start_by_hand(repository, trigger, cause, "trigger").await
    }

    /// Starts the first builds of a new repository: every rule with a literal ref.
    pub async fn first_builds(&self, repository: &Repository, user: &str) -> Result<Triggered, IntakeError> {
        let cause = Cause::Create { user: user.to_owned() };
        self.start_by_hand(repository, &Trigger::default(), cause, "create")
            .await
    }

    async fn start_by_hand(
        &self,
        repository: &Repository,
        trigger: &Trigger,
        cause: Cause,
        event: &str,
    ) -> Result<Triggered, IntakeError> {
        let image = self.image_of(repository);
        let mut requests = Vec::new();
        let mut not_built = Vec::new();
        let mut decided = Vec::new();
        for rule in &repository.rules {
            match decide::by_hand(rule, trigger) {
                Ok((source_name, tags)) => {
                    let mut plan = plan(rule, tags, image.clone());
                    plan.cache &= !trigger.no_cache;
                    requests.push(BuildRequest {
                        id: BuildId::new(),
                        rule_id: rule.id.clone(),
                        source_type: rule.source_type,
                        source_name,
                        commit: trigger.commit.clone(),
                        commit_message: None,
                        cause: cause.clone(),
                        plan,
                        push_order: None,
                        unless_under_way: false,
                        before: None,
                    });
                }
                Err((outcome, reason)) => {
                    decided.push((outcome, reason.clone()));
                    not_built.push((rule.id.clone(), reason));
                }
            }
        }
        let first = requests.first();
        let delivery = NewDelivery {
            source_name: first.map(|request| request.source_name.clone()),
            commit: trigger.commit.clone(),
            decided,
            ..self.click(repository, event)
        };
        let accepted = self.record(NewDelivery { requests, ..delivery }).await?;
        Ok(Triggered { accepted, not_built })
    }

    /// Tries a build again, as a new build.
    pub async fn retry(
        &self,
        repository: &Repository,
        build: &Build,
        inputs: RetryInputs,
        user: &str,
    ) -> Result<Accepted, IntakeError> {
        if !build.status.is_final() {
            return Err(IntakeError::Refused(format!(
                "build #{} has not ended; cancel it first",
                build.number
            )));
        }
        let (commit, commit_message, push_order) = match inputs {
            RetryInputs::Same => (
                build.commit.clone(),
                build.commit_message.clone(),
                Some(build.push_order.clone()),
            ),
            RetryInputs::Refresh => (None, None, None),
        };
        let plan = match inputs {
            RetryInputs::Same => on_the_same_images(build),
            RetryInputs::Refresh => self.current_plan(repository, build)?,
        };
        let request = BuildRequest {
            id: BuildId::new(),
            rule_id: build.rule_id.clone(),
            source_type: build.source_type,
            source_name: build.source_name.clone(),
            commit: commit.clone(),
            commit_message,
            cause: Cause::Retry {
                user: user.to_owned(),
                build: build.id.to_string(),
            },
            plan,
            push_order,
            unless_under_way: false,
            before: None,
        };
        self.record(NewDelivery {
            source_name: Some(build.source_name.clone()),
            commit,
            requests: vec![request],
            ..self.click(repository, "retry")
        })
        .await
    }

    /// The plan that the rule of a build, as it is now, makes for the same ref.
    fn current_plan(&self, repository: &Repository, build: &Build) -> Result<Plan, IntakeError> {
        let rule = repository
            .rules
            .iter()
            .find(|rule| rule.id == build.rule_id)
            .ok_or_else(|| {
                IntakeError::Refused("the rule of this build was removed; retry it with the same inputs".to_owned())
            })?;
        match rule.matches(build.source_type, &build.source_name) {
            crate::domain::rule::Match::Tags(tags) => Ok(plan(rule, tags, self.image_of(repository))),
            crate::domain::rule::Match::No(reason) | crate::domain::rule::Match::Refused(reason) => {
                Err(IntakeError::Refused(reason))
            }
        }
    }

    /// The image that a repository's builds bear, without a tag.
    pub fn image_of(&self, repository: &Repository) -> String {
        repository.image.clone().unwrap_or_else(|| {
            crate::domain::repository::default_image(&repository.name, self.settings.default_registry.as_deref())
        })
    }

    fn click(&self, repository: &Repository, event: &str) -> NewDelivery {
        NewDelivery {
            id: DeliveryId::new(),
            repository_id: repository.id.clone(),
            provider: "api".to_owned(),
            event: event.to_owned(),
            delivery_id: None,
            body_hash: None,
            content_type: None,
            body: None,
            received_at: self.clock.now(),
            source_name: None,
            commit: None,
            decided: vec![],
            requests: vec![],
            takes: None,
        }
    }

    async fn record(&self, delivery: NewDelivery) -> Result<Accepted, IntakeError> {
        self.writer.record(delivery).await?.ok_or(IntakeError::Gone)
    }
}

/// The plan of a build with the base images that it used, as far as it told: so that the same inputs are the same.
fn on_the_same_images(build: &Build) -> Plan {
    let mut plan = build.plan.clone();
    let used = build.base_images.iter().filter(|image| !image.pinned);
    plan.base_digests
        .extend(used.filter_map(|image| Some((image.name.clone(), image.digest.clone()?))));
    plan
}

/// How long the sender of a webhook is asked to wait when it cannot be taken now.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Outcomes with the reasons that lead to no build.
type Decided = Vec<(Outcome, String)>;
