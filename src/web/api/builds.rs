//! Builds: lists, one, cancel, retry.

use std::collections::HashMap;

use axum::{Json, extract::State};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    pagination::{List, Page, PageParameters},
    triggers::Started,
};
use crate::{
    domain::{
        access::Role,
        audit::Action,
        build::{BaseImage, Cause, Failure, Phase, Status, Step},
        engine_health::EngineHealth,
        ids::{BuildId, RuleId},
        rule::SourceType,
    },
    intake::RetryInputs,
    store::{Accepted, Actor, Build, BuildFilter, Sight, User, Worker},
    web::{
        Web,
        audit::Origin,
        auth::{Caller, visible_repository},
        build_selection::{BuildSelection, BuildSelectionParameters},
        json::StrictJson,
        parameters::{FromParameters, IdPath, Parameters, Query, RepositoryPath, Segments},
        problem::{FieldError, Problem},
    },
};

/// A worker that was silent for longer does not count as running.
const WORKER_ALIVE: TimeDelta = TimeDelta::seconds(30);

/// Since when a worker must have been seen to count as running.
pub fn alive_since(now: DateTime<Utc>) -> DateTime<Utc> {
    now - WORKER_ALIVE
}

pub(super) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(list_of_repository))
        .routes(routes!(read))
        .routes(routes!(cancel))
        .routes(routes!(retry))
}

/// A build.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Build)]
pub struct BuildDocument {
    id: BuildId,
    /// Counts the builds of its repository.
    number: i64,
    /// `namespace/name`
    repository: String,
    status: Status,
    phase: Option<Phase>,
    cause: Cause,
    /// The rule's id; the rule itself may be gone.
    rule: RuleId,
    source_type: SourceType,
    source_name: String,
    commit: Option<String>,
    commit_message: Option<String>,
    /// Without a tag.
    image: String,
    tags: Vec<String>,
    /// The pushed manifest's, as the registry has it.
    digest: Option<String>,
    base_images: Vec<BaseImage>,
    steps: Vec<Step>,
    /// 1 is next.
    queue_position: Option<i64>,
    /// What a queued build waits for, for a person to read.
    waiting_for: Option<String>,
    worker: Option<String>,
    queued_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    error: Option<Failure>,
    /// 1 for the first.
    attempt: i64,
    cancel_requested: bool,
    /// The newer build that holds the tags or took the place.
    superseded_by: Option<BuildId>,
    /// What the rule's path filter decided and why: which changed file it was built for, or that there was none.
    status_reason: Option<String>,
}

/// The workers, for what builds say of them.
pub struct Workers {
    names: HashMap<String, String>,
    any_running: bool,
    /// Why the only worker that runs cannot build now.
    no_engine: Option<String>,
    now: DateTime<Utc>,
}

impl Workers {
    pub async fn look_up(web: &Web) -> Result<Self, Problem> {
        let now = web.clock.now();
        let all: Vec<Worker> = web.store.workers_since(DateTime::UNIX_EPOCH).await?;
        let is_running = |worker: &&Worker| worker.concurrency > 0 && worker.last_seen_at >= alive_since(now);
        let running = all.iter().filter(is_running).count();
        // Of other workers' engines nothing is known here.
        let no_engine = match &*web.engine.borrow() {
            EngineHealth::Down(reason) if web.settings.builds_here && running == 1 => Some(reason.clone()),
            _ => None,
        };
        Ok(Self {
            any_running: running > 0,
            no_engine,
            names: all
                .into_iter()
                .map(|worker| (worker.id.to_string(), worker.name))
                .collect(),
            now,
        })
    }

    /// What a queued build waits for, for a person to read.
    pub fn waiting_for(&self, build: &Build) -> Option<String> {
        if build.status != Status::Queued {
            return None;
        }
        if !self.any_running {
            return Some("a worker: none is running".to_owned());
        }
        if let Some(reason) = &self.no_engine {
            return Some(format!("the Docker Engine: {reason}"));
        }
        if let Some(until) = build.not_before.filter(|until| *until > self.now) {
            let after = build
                .failure
                .as_ref()
                .map_or(String::new(), |failure| format!(", after: {}", failure.message));
            return Some(format!("until {}{after}", until.format("%H:%M:%S")));
        }
        Some(match build.queue_position.unwrap_or(1) - 1 {
            ..=0 => "a free worker".to_owned(),
            1 => "1 build before it".to_owned(),
            before => format!("{before} builds before it"),
        })
    }

    /// The worker that has the build or had it last; its id where the name is not known any more.
    pub fn name_of(&self, build: &Build) -> Option<String> {
        let id = build.worker_id.as_ref()?.as_str();
        Some(self.names.get(id).map_or(id, String::as_str).to_owned())
    }

    fn show(&self, build: Build) -> BuildDocument {
        let waiting_for = self.waiting_for(&build);
        let worker = self.name_of(&build);
        BuildDocument {
            id: build.id,
            number: build.number,
            repository: build.repository.to_string(),
            status: build.status,
            phase: build.phase,
            cause: build.cause,
            rule: build.rule_id,
            source_type: build.source_type,
            source_name: build.source_name,
            commit: build.commit,
            commit_message: build.commit_message,
            image: build.plan.image,
            tags: build.plan.tags,
            digest: build.digest,
            base_images: build.base_images,
            steps: build.steps,
            queue_position: build.queue_position,
            waiting_for,
            worker,
            queued_at: build.queued_at,
            started_at: build.started_at,
            finished_at: build.finished_at,
            // What a queued build failed with before is what it waits for to pass.
            error: build.failure.filter(|_| build.status.is_final()),
            attempt: build.attempt,
            cancel_requested: build.cancel_requested,
            superseded_by: build.superseded_by,
            status_reason: build.status_reason,
        }
    }
}

/// A build that the caller may see, or 404.
pub async fn visible_build(web: &Web, caller: &Caller, id: &str) -> Result<Build, Problem> {
    let build = web.store.build(&BuildId::from(id)).await?;
    build
        .filter(|build| caller.may_see(build.repository.namespace(), build.visibility))
        .ok_or_else(|| Problem::not_found("build"))
}

/// Whether somebody may still see a build, to be asked again and again while a stream tells of it.
pub fn still_visible(
    web: &Web,
    build: &BuildId,
) -> impl Fn(Caller) -> BoxFuture<'static, Result<(), Problem>> + Send + 'static {
    let (web, build) = (web.clone(), build.clone());
    move |caller| {
        let (web, build) = (web.clone(), build.clone());
        Box::pin(async move { visible_build(&web, &caller, build.as_str()).await.map(drop) })
    }
}

/// A build that the caller may stop or start again, and who they are: 401 without a token, 404 where it may not be seen, 403
/// where it may only be seen.
pub async fn writable_build<'a>(web: &Web, caller: &'a Caller, id: &str) -> Result<(Build, &'a User), Problem> {
    caller.user()?;
    let build = visible_build(web, caller, id).await?;
    let user = caller.may(build.repository.namespace(), Role::Write)?;
    Ok((build, user))
}

/// The parameters of [`list`].
struct ListParameters {
    page: Page,
    selection: BuildSelection,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["status", "source_name", "rule", "cause", "limit", "cursor"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            selection: BuildSelection::take_from(parameters)?,
            page: Page::take_from(parameters)?,
        })
    }
}

/// The builds that the caller may see, newest first.
#[utoipa::path(get, path = "/api/v1/builds", tag = "builds",
    operation_id = "list_builds",
    params(PageParameters, BuildSelectionParameters),
    responses(
        (status = 200, body = List<BuildDocument>),
        (status = 401, body = Problem), (status = 422, body = Problem),
    ))]
async fn list(
    State(web): State<Web>,
    caller: Caller,
    Query(ListParameters { page, selection }): Query<ListParameters>,
) -> Result<Json<List<BuildDocument>>, Problem> {
    let filter = BuildFilter {
        sight: caller.sight(),
        ..filter_of(&page, &selection)
    };
    page_of_builds(&web, &caller, &page, &filter).await
}

/// The builds of a repository, newest first.
#[utoipa::path(get, path = "/api/v1/repositories/{namespace}/{name}/builds", tag = "builds",
    operation_id = "list_builds_of_repository", params(
        RepositoryPath, PageParameters, BuildSelectionParameters,
    ),
    responses(
        (status = 200, body = List<BuildDocument>),
        (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
    ))]
async fn list_of_repository(
    State(web): State<Web>,
    caller: Caller,
    Segments(name): Segments<(String, String)>,
    Query(ListParameters { page, selection }): Query<ListParameters>,
) -> Result<Json<List<BuildDocument>>, Problem> {
    let repository = visible_repository(&web, &caller, &name).await?;
    let filter = BuildFilter {
        repository: Some(repository.id),
        // That it may be seen has been decided.
        sight: Sight::Everything,
        ..filter_of(&page, &selection)
    };
    page_of_builds(&web, &caller, &page, &filter).await
}

fn filter_of(page: &Page, selection: &BuildSelection) -> BuildFilter {
    BuildFilter {
        before: page.cursor.as_deref().map(BuildId::from),
        limit: page.fetch(),
        ..selection.filter()
    }
}

async fn page_of_builds(
    web: &Web,
    caller: &Caller,
    page: &Page,
    filter: &BuildFilter,
) -> Result<Json<List<BuildDocument>>, Problem> {
    let mut fetched = web.store.builds(filter).await?;
    hide_parents(web, caller, &mut fetched).await?;
    let workers = Workers::look_up(web).await?;
    Ok(Json(page.cut(
        fetched,
        |build| build.id.as_str(),
        |build| workers.show(build),
    )))
}

/// A build.
#[utoipa::path(get, path = "/api/v1/builds/{id}", tag = "builds",
    operation_id = "read_build", params(IdPath), responses(
    (status = 200, body = BuildDocument),
    (status = 401, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem),
))]
async fn read(
    State(web): State<Web>,
    caller: Caller,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
) -> Result<Json<BuildDocument>, Problem> {
    let mut build = visible_build(&web, &caller, &id).await?;
    hide_parents(&web, &caller, std::slice::from_mut(&mut build)).await?;
    Ok(Json(Workers::look_up(&web).await?.show(build)))
}

/// A build that followed from a private one must not tell of that to those who may not see it.
pub async fn hide_parents(web: &Web, caller: &Caller, builds: &mut [Build]) -> Result<(), Problem> {
    let parents: Vec<BuildId> = builds.iter().filter_map(parent).map(BuildId::from).collect();
    if parents.is_empty() {
        return Ok(());
    }
    let ids: Vec<&BuildId> = parents.iter().collect();
    let readable = web.store.readable_builds(&ids, &caller.sight()).await?;
    for build in builds {
        if let Cause::BaseImage { parent, .. } = &mut build.cause {
            parent.take_if(|parent| !readable.iter().any(|id| id.as_str() == parent));
        }
    }
    Ok(())
}

fn parent(build: &Build) -> Option<&str> {
    match &build.cause {
        Cause::BaseImage { parent, .. } => parent.as_deref(),
        _ => None,
    }
}

/// A body without any field.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Cancels a build: a queued one at once, a running one within moments.
#[utoipa::path(post, path = "/api/v1/builds/{id}/cancel", tag = "builds",
    operation_id = "cancel_build", params(IdPath),
    request_body(content = Empty, description = "May be left out"), responses(
    (status = 202, description = "It is or will be canceled", body = BuildDocument),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "It has ended already", body = Problem), (status = 415, body = Problem),
    (status = 422, body = Problem),
))]
async fn cancel(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<Empty>,
) -> Result<(StatusCode, Json<BuildDocument>), Problem> {
    let (build, user) = writable_build(&web, &caller, &id).await?;
    let Empty {} = body.checked()?;
    cancel_build(&web, &build, origin.actor(&user.name)).await?;
    let mut build = visible_build(&web, &caller, &id).await?;
    hide_parents(&web, &caller, std::slice::from_mut(&mut build)).await?;
    Ok((StatusCode::ACCEPTED, Json(Workers::look_up(&web).await?.show(build))))
}

/// Asks for a build to be canceled. 409 if it has ended otherwise.
pub async fn cancel_build(web: &Web, build: &Build, actor: Actor) -> Result<(), Problem> {
    let was_queued = build.status == Status::Queued;
    match web
        .store
        .request_cancel(&build.id, &actor.name, web.clock.now())
        .await?
    {
        None => return Err(Problem::not_found("build")),
        Some(Status::Canceled) if was_queued => {
            web.signals.queue_changed();
            web.signals.build_ended();
        }
        // Asked for twice, it is canceled as wished.
        Some(Status::Canceled) => {}
        Some(status) if status.is_final() => {
            let detail = format!("build #{} has ended already: {}", build.number, status.as_str());
            return Err(Problem::conflict(detail));
        }
        Some(_) => web.signals.cancel_requested(),
    }
    web.logs.hub().changed(&build.id);
    let (name, namespace) = (build.repository.to_string(), build.repository.namespace());
    web.note(actor.did(Action::BuildCanceled, name, namespace, json!({ "build": build.number })))
        .await;
    Ok(())
}

/// What a retry builds.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RetryInput {
    #[serde(default)]
    inputs: InputsChoice,
}

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum InputsChoice {
    /// The same commit under the rule as it was then.
    #[default]
    Same,
    /// What the branch or tag points to now, under the rule as it is now.
    Refresh,
}

/// Tries a build that has ended again, as a new build.
#[utoipa::path(post, path = "/api/v1/builds/{id}/retry", tag = "builds",
    operation_id = "retry_build", params(IdPath),
    request_body = RetryInput, responses(
    (status = 202, description = "The new build", body = Started),
    (status = 401, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem),
    (status = 409, description = "It has not ended, or its rule is gone", body = Problem),
    (status = 415, body = Problem), (status = 422, body = Problem), (status = 503, body = Problem),
))]
async fn retry(
    State(web): State<Web>,
    caller: Caller,
    origin: Origin,
    Segments(id): Segments<String>,
    Query(()): Query<()>,
    body: StrictJson<RetryInput>,
) -> Result<(StatusCode, Json<Started>), Problem> {
    let (build, user) = writable_build(&web, &caller, &id).await?;
    let inputs = match body.checked()?.inputs {
        InputsChoice::Same => RetryInputs::Same,
        InputsChoice::Refresh => RetryInputs::Refresh,
    };
    let accepted = retry_build(&web, &build, inputs, origin.actor(&user.name)).await?;
    Ok((StatusCode::ACCEPTED, Json(Started::new(accepted, vec![]))))
}

/// Tries a build again, as a new build. 409 if it has not ended, or its rule is gone.
pub async fn retry_build(web: &Web, build: &Build, inputs: RetryInputs, actor: Actor) -> Result<Accepted, Problem> {
    let repository = web.store.repository_named(&build.repository).await?;
    let repository = repository.ok_or_else(|| Problem::not_found("build"))?;
    let accepted = web.intake.retry(&repository, build, inputs, &actor.name).await?;
    let (name, namespace) = (build.repository.to_string(), build.repository.namespace());
    web.note(actor.did(Action::BuildRetried, name, namespace, json!({ "build": build.number })))
        .await;
    Ok(accepted)
}
