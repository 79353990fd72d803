//! Starting builds by hand, and the dry run.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{
        access::Role,
        audit::Action,
        build::Status,
        event::is_object_name,
        ids::{BuildId, RuleId},
        image::is_valid_tag,
        repository::Repository,
        rule::{SourceType, is_valid_ref_name},
    },
    intake::{self, Trigger, Triggered},
    store::{Accepted, Actor},
    web::{
        Web,
        audit::Origin,
        auth::{Caller, repository_for},
        json::StrictJson,
        parameters::{Query, RepositoryPath, Segments},
        problem::{FieldError, Problem},
    },
};

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(trigger)).routes(routes!(preview))
}

/// What to build; nothing: every rule with a literal ref.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerInput {
    /// With `source_name`: the rules that match this ref.
    pub source_type: Option<SourceType>,
    pub source_name: Option<String>,
    /// Only the rules that make this tag.
    pub docker_tag: Option<String>,
    /// A full commit id, instead of what the ref points to.
    pub commit: Option<String>,
    /// Without cache, whatever the rules say.
    #[serde(default)]
    pub no_cache: bool,
}

impl TriggerInput {
    /// 422 where something in it cannot be.
    pub fn check(self) -> Result<Trigger, Problem> {
        let mut errors = Vec::new();
        let source = match (self.source_type, self.source_name) {
            (Some(source_type), Some(name)) => {
                errors.extend(check_ref_name(&name));
                Some((source_type, name))
            }
            (None, None) => None,
            (Some(_), None) => {
                errors.push(FieldError::new("source_name", "it goes with `source_type`"));
                None
            }
            (None, Some(_)) => {
                errors.push(FieldError::new(
                    "source_type",
                    "it goes with `source_name`: `branch` or `tag`",
                ));
                None
            }
        };
        if self.docker_tag.as_ref().is_some_and(|tag| !is_valid_tag(tag)) {
            let message = "a tag takes 1 to 128 of A-Z a-z 0-9 _ . -, not beginning with . or -";
            errors.push(FieldError::new("docker_tag", message));
        }
        if self.commit.as_ref().is_some_and(|commit| !is_object_name(commit)) {
            let message = "it is a full commit id: 40 or 64 lower case hexadecimal digits";
            errors.push(FieldError::new("commit", message));
        }
        match errors.is_empty() {
            true => Ok(Trigger {
                source,
                docker_tag: self.docker_tag,
                commit: self.commit,
                no_cache: self.no_cache,
                rule: None,
            }),
            false => Err(Problem::invalid(errors)),
        }
    }
}

fn check_ref_name(name: &str) -> Option<FieldError> {
    (!is_valid_ref_name(name)).then(|| {
        let message = format!("`{name}` is not the name of a branch or tag that git accepts");
        FieldError::new("source_name", message)
    })
}

/// What was started.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Started {
    builds: Vec<StartedBuild>,
    not_built: Vec<NotBuilt>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct StartedBuild {
    id: BuildId,
    /// The rule's id.
    rule: RuleId,
    number: i64,
    status: Status,
}

/// A rule that does not build, and why.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct NotBuilt {
    /// The rule's id.
    rule: RuleId,
    reason: String,
}

impl Started {
    pub fn new(accepted: Accepted, not_built: Vec<(RuleId, String)>) -> Self {
        let started = accepted.queued.into_iter().map(|build| StartedBuild {
            id: build.id,
            rule: build.rule_id,
            number: build.number,
            status: Status::Queued,
        });
        Self {
            builds: started.collect(),
            not_built: not_built_because(not_built),
        }
    }
}

fn not_built_because(rules: Vec<(RuleId, String)>) -> Vec<NotBuilt> {
    rules
        .into_iter()
        .map(|(rule, reason)| NotBuilt { rule, reason })
        .collect()
}

/// Starts builds by hand.
#[utoipa::path(post, path = "/api/v1/repositories/{namespace}/{name}/trigger", tag = "builds",
    operation_id = "trigger_builds", params(RepositoryPath), request_body = TriggerInput, responses(
    (status = 202, body = Started),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
    (status = 429, body = Problem), (status = 503, body = Problem),
))]
async fn trigger(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    body: StrictJson<TriggerInput>,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let (repository, user) = repository_for(&web, &caller, &name, Role::Write).await?;
    let trigger = body.checked()?.check()?;
    let triggered = trigger_builds(&web, &repository, &trigger, origin.actor(&user.name)).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(Started::new(triggered.accepted, triggered.not_built)),
    ))
}

/// Starts builds by hand, whoever was found to be entitled.
pub async fn trigger_builds(
    web: &Web,
    repository: &Repository,
    trigger: &Trigger,
    actor: Actor,
) -> Result<Triggered, Problem> {
    let triggered = web.intake.trigger(repository, trigger, &actor.name).await?;
    let builds: Vec<i64> = triggered.accepted.queued.iter().map(|build| build.number).collect();
    let (name, namespace) = (repository.name.to_string(), repository.name.namespace());
    web.note(actor.did(Action::BuildTriggered, name, namespace, json!({ "builds": builds })))
        .await;
    Ok(triggered)
}

/// A ref that might be pushed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PreviewInput {
    source_type: SourceType,
    source_name: String,
}

/// What a push would build.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Preview {
    matches: Vec<PreviewMatch>,
    not_matched: Vec<NotBuilt>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PreviewMatch {
    /// The rule's id.
    rule: RuleId,
    tags: Vec<String>,
    dockerfile: String,
    context: String,
    /// The rule's path filter: it builds if the push changed a file that matches, which is decided when the commit has been
    /// fetched. Empty: it builds.
    paths: Vec<String>,
}

/// What a push of a branch or tag would build: a dry run.
#[utoipa::path(post, path = "/api/v1/repositories/{namespace}/{name}/preview", tag = "builds",
    operation_id = "preview_builds", params(RepositoryPath), request_body = PreviewInput, responses(
    (status = 200, body = Preview),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem),
))]
async fn preview(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    body: StrictJson<PreviewInput>,
) -> Result<Json<Preview>, Problem> {
    let (repository, _) = repository_for(&web, &caller, &name, Role::Write).await?;
    let input = body.checked()?;
    if let Some(error) = check_ref_name(&input.source_name) {
        return Err(Problem::invalid(vec![error]));
    }
    let found = intake::preview(&repository, input.source_type, &input.source_name);
    let matches = found.matches.into_iter().map(|found| PreviewMatch {
        rule: found.rule,
        tags: found.tags,
        dockerfile: found.dockerfile,
        context: found.context,
        paths: found.paths,
    });
    Ok(Json(Preview {
        matches: matches.collect(),
        not_matched: not_built_because(found.not_matched),
    }))
}
