//! What the rules of a repository make of an event. The dry run calls the same functions.

use std::collections::BTreeMap;

use super::{Decided, Trigger};
use crate::domain::{
    build::{Before, Cause, Plan},
    delivery::Outcome,
    event::{ChangeKind, PushEvent, asks_to_skip, kept_message},
    ids::{BuildId, RuleId},
    repository::Repository,
    rule::{Match, Rule, SourceType},
    schedule::Schedule,
};
use crate::store::{BuildRequest, LiveRef};

/// The dry run: what a push of a ref would build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preview {
    pub matches: Vec<PreviewMatch>,
    pub not_matched: Vec<(RuleId, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewMatch {
    pub rule: RuleId,
    pub tags: Vec<String>,
    pub dockerfile: String,
    pub context: String,
    /// The rule's path filter, which is decided when the commit has been fetched.
    pub paths: Vec<String>,
}

/// What one rule makes of one pushed ref.
fn by_push(rule: &Rule, source_type: SourceType, name: &str) -> Result<Vec<String>, (Outcome, String)> {
    match rule.matches(source_type, name) {
        Match::No(reason) => Err((Outcome::NoMatch, reason)),
        Match::Refused(reason) => Err((Outcome::Refused, reason)),
        Match::Tags(_) if !rule.autobuild => Err((
            Outcome::Skipped,
            format!("autobuild is off for the rule of `{}`", rule.source),
        )),
        Match::Tags(tags) => Ok(tags),
    }
}

/// What a push of a ref would build, and why the other rules would not.
pub fn preview(repository: &Repository, source_type: SourceType, name: &str) -> Preview {
    let mut preview = Preview::default();
    for rule in &repository.rules {
        match preview_rule(rule, source_type, name) {
            Ok(found) => preview.matches.push(found),
            Err(reason) => preview.not_matched.push((rule.id.clone(), reason)),
        }
    }
    preview
}

/// The same for one rule, saved or not.
pub fn preview_rule(rule: &Rule, source_type: SourceType, name: &str) -> Result<PreviewMatch, String> {
    let tags = by_push(rule, source_type, name).map_err(|(_, reason)| reason)?;
    Ok(PreviewMatch {
        rule: rule.id.clone(),
        tags,
        dockerfile: rule.dockerfile.clone(),
        context: rule.context.clone(),
        paths: match may_be_skipped(rule, source_type) {
            true => rule.paths.clone(),
            false => vec![],
        },
    })
}

/// Whether a push builds only if files were changed that the rule is about. A tag has no commit before it to compare with.
pub(super) fn may_be_skipped(rule: &Rule, source_type: SourceType) -> bool {
    source_type == SourceType::Branch && !rule.paths.is_empty()
}

/// What a push builds; every changed ref is handled.
pub(super) fn builds_of_push(
    repository: &Repository,
    image: &str,
    push: &PushEvent,
    delivery: &str,
) -> (Vec<BuildRequest>, Decided) {
    let mut requests = Vec::new();
    let mut decided = Vec::new();
    for change in &push.changes {
        let (commit, message, before) = match &change.kind {
            ChangeKind::Deleted => {
                decided.push((
                    Outcome::Ignored,
                    format!("{} `{}` was deleted", change.source_type.as_str(), change.name),
                ));
                continue;
            }
            ChangeKind::Updated {
                commit,
                message,
                before,
            } => (commit, message, before),
        };
        if let Some(marker) = message.as_deref().and_then(asks_to_skip) {
            decided.push((
                Outcome::Skipped,
                format!("the commit message of `{}` says {marker}", change.name),
            ));
            continue;
        }
        if repository.rules.is_empty() {
            decided.push((Outcome::NoMatch, "the repository has no rules".to_owned()));
        }
        for rule in &repository.rules {
            match by_push(rule, change.source_type, &change.name) {
                Ok(tags) => requests.push(BuildRequest {
                    id: BuildId::new(),
                    rule_id: rule.id.clone(),
                    source_type: change.source_type,
                    source_name: change.name.clone(),
                    commit: Some(commit.clone()),
                    commit_message: message.as_deref().map(kept_message),
                    cause: Cause::Push {
                        delivery: delivery.to_owned(),
                    },
                    plan: plan(rule, tags, image.to_owned()),
                    push_order: None,
                    unless_under_way: true,
                    before: may_be_skipped(rule, change.source_type)
                        .then(|| before.clone().map_or(Before::Nothing, Before::Commit)),
                }),
                Err(reason) => decided.push(reason),
            }
        }
    }
    if push.changes.is_empty() {
        decided.push((Outcome::Ignored, "nothing changed".to_owned()));
    }
    (requests, decided)
}

/// Which ref a rule builds by hand, and under which tags; or why it does not.
pub(super) fn by_hand(rule: &Rule, trigger: &Trigger) -> Result<(String, Vec<String>), (Outcome, String)> {
    if trigger.rule.as_ref().is_some_and(|wanted| *wanted != rule.id) {
        return Err((Outcome::NoMatch, "another rule was asked for".to_owned()));
    }
    let name = match (&trigger.source, rule.literal_source()) {
        (Some((_, name)), _) => name,
        (None, Some(literal)) => literal,
        (None, None) => {
            let reason = format!("`{}` is a pattern; name a branch or tag to build", rule.source);
            return Err((Outcome::NoMatch, reason));
        }
    };
    let source_type = trigger
        .source
        .as_ref()
        .map_or(rule.source_type, |(source_type, _)| *source_type);
    let tags = match rule.matches(source_type, name) {
        Match::Tags(tags) => tags,
        Match::No(reason) => return Err((Outcome::NoMatch, reason)),
        Match::Refused(reason) => return Err((Outcome::Refused, reason)),
    };
    match &trigger.docker_tag {
        Some(wanted) if !tags.contains(wanted) => Err((
            Outcome::NoMatch,
            format!("it makes {}, not `{wanted}`", tags.join(", ")),
        )),
        _ => Ok((name.to_owned(), tags)),
    }
}

/// What the schedule of a rule builds: a literal ref as by hand; of a pattern every ref that still holds tags, and of its
/// tags those alone, at its place in the order of pushes: another may be a newer ref's by now, or soon. A branch is built as
/// it is, a git tag as it was.
pub(super) fn by_schedule(
    rule: &Rule,
    schedule: &Schedule,
    image: &str,
    live: Vec<LiveRef>,
) -> (Vec<BuildRequest>, Decided) {
    let request = |source_type, source_name, tags| {
        let mut plan = plan(rule, tags, image.to_owned());
        plan.cache &= !schedule.no_cache;
        BuildRequest {
            id: BuildId::new(),
            rule_id: rule.id.clone(),
            source_type,
            source_name,
            commit: None,
            commit_message: None,
            cause: Cause::Schedule {
                cron: schedule.cron.clone(),
                time_zone: schedule.time_zone.clone(),
            },
            plan,
            push_order: None,
            unless_under_way: true,
            before: None,
        }
    };
    if rule.literal_source().is_some() {
        return match by_hand(rule, &Trigger::default()) {
            Ok((name, tags)) => (vec![request(rule.source_type, name, tags)], vec![]),
            Err(decided) => (vec![], vec![decided]),
        };
    }
    let (mut requests, mut decided) = (Vec::new(), Vec::new());
    if live.is_empty() {
        let reason = format!(
            "`{}` is a pattern, and no tag that it gave is there to be built again",
            rule.source
        );
        decided.push((Outcome::NoMatch, reason));
    }
    for live in live {
        match rule.matches(live.source_type, &live.source_name) {
            Match::No(reason) => decided.push((Outcome::NoMatch, reason)),
            Match::Refused(reason) => decided.push((Outcome::Refused, reason)),
            Match::Tags(tags) => {
                let held: Vec<String> = tags.into_iter().filter(|tag| live.tags.contains(tag)).collect();
                if held.is_empty() {
                    let reason = format!("`{}` does not give the tags any more that it holds", live.source_name);
                    decided.push((Outcome::NoMatch, reason));
                    continue;
                }
                let stays = live.source_type == SourceType::Tag;
                requests.push(BuildRequest {
                    commit: live.commit.filter(|_| stays),
                    commit_message: live.commit_message.filter(|_| stays),
                    push_order: Some(live.push_order),
                    ..request(live.source_type, live.source_name, held)
                });
            }
        }
    }
    (requests, decided)
}

/// What a build is to do, as its rule has it now.
pub(super) fn plan(rule: &Rule, tags: Vec<String>, image: String) -> Plan {
    Plan {
        dockerfile: rule.dockerfile.clone(),
        context: rule.context.clone(),
        tags,
        image,
        build_args: rule.build_args.clone(),
        target: rule.target.clone(),
        platforms: rule.platforms.clone(),
        cache: rule.cache,
        paths: rule.paths.clone(),
        base_digests: BTreeMap::new(),
    }
}
