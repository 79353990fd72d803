//! Lists of builds: the rows, the form that narrows them, and the ways to what is older and newer; shared by all pages that
//! have one.

use url::form_urlencoded::Serializer;

use super::{
    viewer::Viewer,
    words::{self, When},
};
use crate::{
    domain::{
        build::{Cause, CauseKind, Status},
        ids::BuildId,
        repository::Repository,
        rule::SourceType,
    },
    store::{Build, BuildFilter, Sight},
    web::{
        Web,
        api::builds::Workers,
        build_selection::BuildSelection,
        parameters::{FromParameters, Parameters},
        problem::{FieldError, Problem},
    },
};

/// Builds of one page.
const PAGE: u32 = 30;

/// What the address says of a list.
#[derive(Debug, Default)]
pub struct ListParameters {
    selection: BuildSelection,
    before: Option<BuildId>,
    after: Option<BuildId>,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["status", "source_name", "rule", "cause", "before", "after"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        parameters.forget_empty();
        let message = "it is where another page of the list ends";
        Ok(Self {
            selection: BuildSelection::take_from(parameters)?,
            before: parameters.take_id("before", message)?.map(BuildId::from),
            after: parameters.take_id("after", message)?.map(BuildId::from),
        })
    }
}

/// The fields of `build_list.html`; templates hold it as `list`.
pub struct BuildList {
    /// The page's own path.
    pub path: String,
    /// The stream that tells of changes.
    pub live: String,
    pub rows: Vec<BuildRow>,
    pub form: SelectionForm,
    /// Whether anything narrows the list.
    pub is_narrowed: bool,
    pub newer: Option<String>,
    pub older: Option<String>,
}

/// The form that narrows a list.
pub struct SelectionForm {
    pub statuses: Vec<Choice>,
    pub causes: Vec<Choice>,
    /// Empty where the list is of many repositories.
    pub rules: Vec<Choice>,
    pub source_name: String,
}

/// One choice of a field.
pub struct Choice {
    pub value: String,
    pub label: String,
    pub is_selected: bool,
}

/// One build, as `build_rows.html` shows it.
pub struct BuildRow {
    pub id: BuildId,
    /// `namespace/name`; none where the page is that repository's own.
    pub repository: Option<String>,
    pub number: i64,
    pub status: &'static str,
    /// What a running build is doing.
    pub phase: Option<&'static str>,
    pub is_stopping: bool,
    pub cause: String,
    /// Where the cause does not tell it.
    pub source: Option<SourceView>,
    /// The first line of the commit's message.
    pub subject: String,
    pub tags: Vec<String>,
    /// Why it failed, on one line.
    pub failure: Option<String>,
    pub waiting_for: Option<String>,
    pub queue_position: Option<i64>,
    /// Of a running build; RFC 3339.
    pub since: Option<String>,
    pub took: Option<String>,
    pub queued: When,
}

/// The branch or tag of a build.
pub struct SourceView {
    pub icon: &'static str,
    pub kind: &'static str,
    pub name: String,
    /// Short.
    pub commit: Option<String>,
}

impl BuildList {
    /// The builds that the viewer may see of all repositories.
    pub async fn of_all(web: &Web, viewer: &Viewer, parameters: ListParameters) -> Result<Self, Problem> {
        let sight = BuildFilter {
            sight: viewer.caller.sight(),
            ..parameters.selection.filter()
        };
        let form = SelectionForm::new(&parameters.selection, None);
        let places = ("/builds".to_owned(), "/live/builds".to_owned());
        Self::load(web, viewer, sight, parameters, form, places).await
    }

    /// The builds of a repository that the viewer may see.
    pub async fn of_repository(
        web: &Web,
        viewer: &Viewer,
        repository: &Repository,
        parameters: ListParameters,
    ) -> Result<Self, Problem> {
        let sight = BuildFilter {
            repository: Some(repository.id.clone()),
            // That it may be seen has been decided.
            sight: Sight::Everything,
            ..parameters.selection.filter()
        };
        let form = SelectionForm::new(&parameters.selection, Some(repository));
        let name = &repository.name;
        let places = (format!("/r/{name}/builds"), format!("/live/repositories/{name}"));
        Self::load(web, viewer, sight, parameters, form, places).await
    }

    async fn load(
        web: &Web,
        viewer: &Viewer,
        sight: BuildFilter,
        parameters: ListParameters,
        form: SelectionForm,
        (path, live): (String, String),
    ) -> Result<Self, Problem> {
        let is_of_many = sight.repository.is_none();
        let page = fetch(web, &sight, parameters.before, parameters.after).await?;
        let workers = Workers::look_up(web).await?;
        let address = |name: &str, id: &BuildId| {
            let query = Serializer::new(String::new())
                .extend_pairs(parameters.selection.parameters())
                .append_pair(name, id.as_str())
                .finish();
            format!("{path}?{query}")
        };
        let (first, last) = (page.builds.first(), page.builds.last());
        let newer = first
            .filter(|_| page.has_newer)
            .map(|build| address("after", &build.id));
        let older = last
            .filter(|_| page.has_older)
            .map(|build| address("before", &build.id));
        let rows = page
            .builds
            .into_iter()
            .map(|build| BuildRow::new(build, &workers, viewer, is_of_many));
        Ok(Self {
            rows: rows.collect(),
            is_narrowed: !parameters.selection.is_empty(),
            form,
            newer,
            older,
            path,
            live,
        })
    }
}

struct Page {
    /// Newest first.
    builds: Vec<Build>,
    has_newer: bool,
    has_older: bool,
}

async fn fetch(
    web: &Web,
    sight: &BuildFilter,
    before: Option<BuildId>,
    after: Option<BuildId>,
) -> Result<Page, Problem> {
    let filter = BuildFilter {
        before: before.clone().filter(|_| after.is_none()),
        after: after.clone(),
        // One more tells whether there is another page.
        limit: PAGE + 1,
        ..sight.clone()
    };
    let mut builds = web.store.builds(&filter).await?;
    let has_more = builds.len() > PAGE as usize;
    if after.is_some() {
        if !has_more {
            // The newest page is a full one, whichever way led to it.
            let newest = BuildFilter { after: None, ..filter };
            return newest_page(web.store.builds(&newest).await?);
        }
        builds.remove(0);
        return Ok(Page {
            builds,
            has_newer: true,
            has_older: true,
        });
    }
    builds.truncate(PAGE as usize);
    Ok(Page {
        builds,
        has_newer: before.is_some(),
        has_older: has_more,
    })
}

fn newest_page(mut builds: Vec<Build>) -> Result<Page, Problem> {
    let has_older = builds.len() > PAGE as usize;
    builds.truncate(PAGE as usize);
    Ok(Page {
        builds,
        has_newer: false,
        has_older,
    })
}

impl SelectionForm {
    fn new(selection: &BuildSelection, repository: Option<&Repository>) -> Self {
        let statuses = Status::ALL.into_iter().map(|status| Choice {
            value: status.as_str().to_owned(),
            label: status.as_str().to_owned(),
            is_selected: selection.status == Some(status),
        });
        let causes = CauseKind::ALL.into_iter().map(|cause| Choice {
            value: cause.as_str().to_owned(),
            label: words::cause_kind(cause).to_owned(),
            is_selected: selection.cause == Some(cause),
        });
        let rules = repository.into_iter().flat_map(|repository| &repository.rules);
        let rules = rules.map(|rule| Choice {
            value: rule.id.to_string(),
            label: format!("{} → {}", rule.source, rule.docker_tag),
            is_selected: selection.rule.as_ref() == Some(&rule.id),
        });
        Self {
            statuses: statuses.collect(),
            causes: causes.collect(),
            rules: rules.collect(),
            source_name: selection.source_name.clone().unwrap_or_default(),
        }
    }
}

impl BuildRow {
    /// `with_repository`: whether the row must say which repository's it is.
    pub fn new(build: Build, workers: &Workers, viewer: &Viewer, with_repository: bool) -> Self {
        let waiting_for = workers.waiting_for(&build);
        let commit = build.commit.as_deref();
        let ended = build.finished_at.filter(|_| build.status.is_final());
        let running_since = build.started_at.filter(|_| build.status == Status::Running);
        let took = build
            .started_at
            .map(|started| words::duration(ended.unwrap_or(viewer.now) - started))
            .filter(|_| ended.is_some() || running_since.is_some());
        let tells_source = matches!(build.cause, Cause::Push { .. });
        let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
        Self {
            repository: with_repository.then(|| build.repository.to_string()),
            number: build.number,
            status: build.status.as_str(),
            phase: build.phase.map(|phase| phase.as_str()),
            is_stopping: build.cancel_requested && !build.status.is_final(),
            cause: words::cause(&build.cause, &build.source_name, commit),
            subject: build.commit_message.as_deref().map(first_line).unwrap_or_default(),
            failure: build
                .failure
                .filter(|_| build.status == Status::Failed)
                .map(|failure| first_line(&failure.message)),
            source: (!tells_source).then(|| SourceView {
                icon: match build.source_type {
                    SourceType::Branch => "branch",
                    SourceType::Tag => "label",
                },
                kind: build.source_type.as_str(),
                name: build.source_name,
                commit: build.commit.as_deref().map(|commit| words::short(commit).to_owned()),
            }),
            tags: build.plan.tags,
            waiting_for,
            queue_position: build.queue_position,
            since: running_since.map(|since| When::new(since, viewer.now).iso),
            took,
            queued: When::new(build.queued_at, viewer.now),
            id: build.id,
        }
    }
}
