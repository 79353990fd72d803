//! The page of one build: what it was to do, how it goes or went, its steps, and its log.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use url::Url;

use super::{
    build_bases::BuildBases,
    build_failure::{FailureView, LineView},
    build_log::line_parameter,
    build_steps::Timeline,
    page::{PageResult, render},
    viewer::Viewer,
    words::{self, When},
};
use crate::{
    domain::{
        access::Role,
        build::{Cause, Phase, Status},
        ids::BuildId,
        repository::{Provider, Repository},
        rule::SourceType,
    },
    logs::{chunks::ReadError, lines::Outline},
    store::Build,
    web::{
        Web,
        api::builds::{Workers, visible_build},
        parameters::{FromParameters, Parameters, Query, Segments},
        problem::FieldError,
    },
};

/// Lines of the log that are part of the page itself.
const LINES: u64 = 500;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/builds/{id}", get(page))
}

struct PageParameters {
    /// The first line to show, for those without script.
    from: Option<u64>,
}

impl FromParameters for PageParameters {
    const NAMES: &'static [&'static str] = &["from"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        Ok(Self {
            from: line_parameter(parameters, "from")?,
        })
    }
}

#[derive(Template)]
#[template(path = "build.html")]
struct BuildPage {
    viewer: Viewer,
    build: BuildView,
    failure: Option<FailureView>,
    timeline: Timeline,
    bases: BuildBases,
    log: LogView,
}

/// The head of the page.
struct BuildView {
    id: BuildId,
    namespace: String,
    repository: String,
    number: i64,
    status: &'static str,
    /// What a running build is doing.
    phase: Option<&'static str>,
    is_final: bool,
    is_stopping: bool,
    may_write: bool,
    cause: String,
    /// The build that this one tries again.
    retry_of: Option<String>,
    superseded_by: Option<String>,
    source_kind: &'static str,
    source_name: String,
    commit: Option<CommitView>,
    dockerfile: String,
    image: String,
    tags: Vec<String>,
    digest: Option<String>,
    /// What to type to get the image; none before it is there.
    pull: Option<String>,
    queued: When,
    started: Option<When>,
    finished: Option<When>,
    waited: String,
    took: Option<String>,
    worker: Option<String>,
    attempt: i64,
    queue_position: Option<i64>,
    waiting_for: Option<String>,
    /// What the path filter decided.
    status_reason: Option<String>,
}

struct CommitView {
    short: String,
    whole: String,
    /// At the forge, where it shows commits.
    url: Option<String>,
    subject: String,
    body: String,
}

/// The log, as far as it is a part of the page.
struct LogView {
    lines: Vec<LineView>,
    total: u64,
    ended: bool,
    /// The first lines of the windows before and after.
    earlier: Option<u64>,
    later: Option<u64>,
    /// It cannot be read.
    is_missing: bool,
}

async fn page(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(id): Segments<String>,
    Query(PageParameters { from }): Query<PageParameters>,
) -> PageResult {
    let build = visible_build(&web, &viewer.caller, &id).await?;
    let repository = web.store.repository_named(&build.repository).await?;
    let workers = Workers::look_up(&web).await?;
    let (outline, log) = match read_log(&web, &build, from).await {
        Ok(read) => read,
        Err(ReadError::NotFound) => (Outline::default(), LogView::missing()),
        Err(error) => return Err(error.into()),
    };
    let failure = match log.is_missing {
        true => None,
        false => FailureView::of(&web, &build, &outline).await?,
    };
    let bases = BuildBases::of(&web, &viewer.caller, &build, repository.as_ref()).await?;
    let timeline = Timeline::new(&build, &outline, viewer.now);
    let build = BuildView::new(build, repository.as_ref(), &workers, &viewer);
    render(&BuildPage {
        viewer,
        build,
        failure,
        timeline,
        bases,
        log,
    })
}

async fn read_log(web: &Web, build: &Build, from: Option<u64>) -> Result<(Outline, LogView), ReadError> {
    let outline = web.logs.outline(&build.id).await?;
    let total = outline.extent.lines;
    let from = from.unwrap_or(total.saturating_sub(LINES)).min(total);
    let window = web.logs.window(&build.id, from, LINES).await?;
    let end = from + window.lines.len() as u64;
    let view = LogView {
        total,
        ended: outline.extent.ended,
        earlier: (from > 0).then(|| from.saturating_sub(LINES) + 1),
        later: (end < total).then_some(end + 1),
        lines: window.numbered().map(LineView::from).collect(),
        is_missing: false,
    };
    Ok((outline, view))
}

impl LogView {
    fn missing() -> Self {
        Self {
            lines: Vec::new(),
            total: 0,
            ended: true,
            earlier: None,
            later: None,
            is_missing: true,
        }
    }
}

impl BuildView {
    fn new(build: Build, repository: Option<&Repository>, workers: &Workers, viewer: &Viewer) -> Self {
        let now = viewer.now;
        let begun = build.started_at.or(build.finished_at);
        let pull = match (&build.digest, build.status, build.plan.tags.first()) {
            (Some(digest), Status::Succeeded, _) => Some(format!("docker pull {}@{digest}", build.plan.image)),
            (None, Status::Succeeded, Some(tag)) => Some(format!("docker pull {}:{tag}", build.plan.image)),
            _ => None,
        };
        Self {
            may_write: viewer.caller.has_role(build.repository.namespace(), Role::Write),
            cause: words::cause(&build.cause, &build.source_name, build.commit.as_deref()),
            retry_of: match &build.cause {
                Cause::Retry { build, .. } => Some(build.clone()),
                _ => None,
            },
            commit: build
                .commit
                .as_deref()
                .map(|commit| CommitView::new(commit, build.commit_message.as_deref(), repository)),
            waiting_for: workers.waiting_for(&build),
            worker: workers.name_of(&build),
            waited: words::duration(begun.unwrap_or(now) - build.queued_at),
            took: build
                .started_at
                .map(|started| words::duration(build.finished_at.unwrap_or(now) - started)),
            namespace: build.repository.namespace().to_owned(),
            repository: build.repository.name().to_owned(),
            number: build.number,
            status: build.status.as_str(),
            phase: build.phase.filter(|_| build.status == Status::Running).map(doing),
            is_final: build.status.is_final(),
            is_stopping: build.cancel_requested && !build.status.is_final(),
            superseded_by: build.superseded_by.as_ref().map(ToString::to_string),
            source_kind: match build.source_type {
                SourceType::Branch => "branch",
                SourceType::Tag => "tag",
            },
            source_name: build.source_name,
            dockerfile: build.plan.dockerfile,
            pull,
            image: build.plan.image,
            tags: build.plan.tags,
            digest: build.digest,
            queued: When::new(build.queued_at, now),
            started: build.started_at.map(|at| When::new(at, now)),
            finished: build.finished_at.map(|at| When::new(at, now)),
            attempt: build.attempt,
            queue_position: build.queue_position,
            status_reason: build.status_reason,
            id: build.id,
        }
    }
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Fetch => "fetching the source",
        Phase::Build => "building",
        Phase::Test => "testing",
        Phase::Push => "pushing the image",
    }
}

impl CommitView {
    fn new(commit: &str, message: Option<&str>, repository: Option<&Repository>) -> Self {
        let message = message.unwrap_or_default().trim();
        let (subject, body) = message.split_once('\n').unwrap_or((message, ""));
        Self {
            short: words::short(commit).to_owned(),
            whole: commit.to_owned(),
            url: repository.and_then(|repository| commit_url(repository, commit)),
            subject: subject.trim().to_owned(),
            body: body.trim().to_owned(),
        }
    }
}

/// Where the forge shows a commit, if it does so at an address that follows from the source's.
fn commit_url(repository: &Repository, commit: &str) -> Option<String> {
    let url = Url::parse(&repository.source.url).ok()?;
    let place = match repository.source.provider {
        Provider::Github => "commit",
        Provider::Bitbucket => "commits",
        Provider::BitbucketServer => return None,
    };
    if url.scheme() != "https" || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut commit_page = url.clone();
    commit_page.set_path(&format!("{path}/{place}/{commit}"));
    commit_page.set_query(None);
    // A source's address may hold the name of a user.
    commit_page.set_username("").ok()?;
    commit_page.set_password(None).ok()?;
    Some(commit_page.to_string())
}
