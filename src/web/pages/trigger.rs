//! Starting builds by hand: the form that repositories' pages show, and what it leads to.

use axum::{Router, extract::State, response::Response, routing::post};
use serde::Deserialize;

use super::{answer::Answer, form::Submitted, notice::Notice, page::local_path, viewer::Viewer, words::counted};
use crate::{
    domain::{
        access::Role,
        ids::RuleId,
        repository::Repository,
        rule::{Rule, SourceType},
    },
    intake::Triggered,
    web::{
        Web,
        api::triggers::{TriggerInput, trigger_builds},
        audit::Origin,
        auth::repository_for,
        parameters::{Query, Segments},
        problem::Problem,
    },
};

/// Rules that are told of one by one; the answer is a sentence, not a list.
const MOST_REASONS: usize = 3;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/r/{namespace}/{name}/trigger", post(trigger))
}

/// The fields of `trigger.html`; templates hold it as `trigger`.
pub struct TriggerForm {
    pub action: String,
    /// Where to go on.
    pub next: String,
    /// Whether a rule can build without being told what.
    pub has_literal: bool,
    pub rules: Vec<RuleButton>,
}

/// One rule to build.
pub struct RuleButton {
    pub id: RuleId,
    pub label: String,
}

impl TriggerForm {
    /// None where the viewer may not start builds. `next`: the page that it stands on.
    pub fn new(viewer: &Viewer, repository: &Repository, next: &str) -> Option<Self> {
        let name = &repository.name;
        viewer.caller.has_role(name.namespace(), Role::Write).then(|| Self {
            action: format!("/r/{name}/trigger"),
            next: next.to_owned(),
            has_literal: repository.rules.iter().any(|rule| rule.literal_source().is_some()),
            rules: repository
                .rules
                .iter()
                .map(|rule| RuleButton {
                    id: rule.id.clone(),
                    label: label(rule),
                })
                .collect(),
        })
    }
}

fn label(rule: &Rule) -> String {
    format!("{} → {}", rule.source, rule.docker_tag)
}

#[derive(Deserialize)]
struct TriggerFields {
    #[serde(default)]
    next: String,
    #[serde(default)]
    rule: String,
    source_type: Option<SourceType>,
    #[serde(default)]
    source_name: String,
    #[serde(default)]
    commit: String,
    #[serde(default)]
    no_cache: bool,
}

async fn trigger(
    State(web): State<Web>,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    answer: Answer,
    origin: Origin,
    Submitted { viewer, form }: Submitted<TriggerFields>,
) -> Result<Response, Problem> {
    let (repository, user) = repository_for(&web, &viewer.caller, &name, Role::Write).await?;
    let filled = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let source_name = filled(&form.source_name);
    let input = TriggerInput {
        // A form always sends the type.
        source_type: form.source_type.filter(|_| source_name.is_some()),
        source_name,
        docker_tag: None,
        commit: filled(&form.commit).map(|commit| commit.to_ascii_lowercase()),
        no_cache: form.no_cache,
    };
    let next = local_path(&form.next);
    let mut trigger = match input.check() {
        Ok(trigger) => trigger,
        Err(refused) => {
            let reasons: Vec<&str> = refused.errors().iter().map(|error| error.message.as_str()).collect();
            return Ok(answer.done(
                next,
                &Notice::bad(format!("Nothing was started: {}.", reasons.join("; "))),
            ));
        }
    };
    trigger.rule = filled(&form.rule).map(RuleId::from);
    let triggered = trigger_builds(&web, &repository, &trigger, origin.actor(&user.name)).await?;
    Ok(answer.done(next, &told(&triggered, &repository, trigger.rule.as_ref())))
}

/// What was started, and which rules build nothing and why. Where one rule was asked for, others are nobody's concern.
fn told(triggered: &Triggered, repository: &Repository, wanted: Option<&RuleId>) -> Notice {
    let numbers: Vec<String> = triggered
        .accepted
        .queued
        .iter()
        .map(|build| format!("#{}", build.number))
        .collect();
    let mut reasons: Vec<String> = triggered
        .not_built
        .iter()
        .filter(|(rule, _)| wanted.is_none_or(|wanted| wanted == rule))
        .map(
            |(id, reason)| match repository.rules.iter().find(|rule| rule.id == *id) {
                Some(rule) => format!("{}: {reason}", label(rule)),
                None => reason.clone(),
            },
        )
        .collect();
    if repository.rules.is_empty() {
        reasons.push("the repository has no rules".to_owned());
    }
    if wanted.is_some_and(|wanted| !repository.rules.iter().any(|rule| rule.id == *wanted)) {
        reasons.push("this rule is gone".to_owned());
    }
    let more = reasons.len().saturating_sub(MOST_REASONS);
    reasons.truncate(MOST_REASONS);
    if more > 0 {
        reasons.push(format!("{} more", counted(more as i64, "rule")));
    }
    let reasons = reasons.join("; ");
    match (numbers.is_empty(), reasons.is_empty()) {
        (true, true) => Notice::bad("Nothing was started."),
        (true, false) => Notice::bad(format!("Nothing was started. {reasons}.")),
        (false, true) => Notice::good(format!("Queued {}.", numbers.join(", "))),
        (false, false) => Notice::good(format!("Queued {}. Not built: {reasons}.", numbers.join(", "))),
    }
}
