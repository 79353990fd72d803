//! The start: one's repositories and what is happening in them; for those who are not signed in, what there is to see.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use super::{
    page::{PageResult, render},
    repository_list::{ListParameters, RepositoryList},
    viewer::Viewer,
    words::When,
};
use crate::{
    domain::build::Status,
    store::{RecentBuild, RepositoryFilter, Sight},
    web::{Web, parameters::Query, problem::Problem},
};

/// Builds that each of the short lists beside the repositories shows.
const RECENT: u32 = 5;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/", get(start))
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    viewer: Viewer,
    namespaces: Vec<NamespaceLink>,
    list: RepositoryList,
    running: Vec<RecentRow>,
    failed: Vec<RecentRow>,
}

/// One's own name or an organisation, to show its repositories alone.
struct NamespaceLink {
    href: String,
    label: String,
    is_current: bool,
}

struct RecentRow {
    path: String,
    repository: String,
    number: i64,
    status: &'static str,
    source: String,
    when: When,
}

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome {
    viewer: Viewer,
    list: RepositoryList,
}

async fn start(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<ListParameters>) -> PageResult {
    match viewer.name().map(str::to_owned) {
        Some(name) => dashboard(&web, viewer, name, parameters).await,
        None => {
            let filter = RepositoryFilter::new(Sight::Public, 0);
            let list = RepositoryList::load(&web, viewer.now, "/", filter, parameters).await?;
            render(&Welcome { viewer, list })
        }
    }
}

async fn dashboard(web: &Web, viewer: Viewer, name: String, parameters: ListParameters) -> PageResult {
    let mut mine = vec![name];
    mine.extend(viewer.organisations().into_iter().map(str::to_owned));
    let chosen = parameters.namespace.clone();
    let filter = RepositoryFilter {
        within: Some(mine.clone()),
        ..RepositoryFilter::new(viewer.caller.sight(), 0)
    };
    let list = RepositoryList::load(web, viewer.now, "/", filter, parameters).await?;
    let shown = match &chosen {
        Some(namespace) => vec![namespace.clone()],
        None => mine.clone(),
    };
    let running = recent(web, &viewer, &shown, Status::Running).await?;
    let failed = recent(web, &viewer, &shown, Status::Failed).await?;
    render(&Dashboard {
        namespaces: namespace_links(&mine, chosen.as_deref()),
        viewer,
        list,
        running,
        failed,
    })
}

async fn recent(web: &Web, viewer: &Viewer, namespaces: &[String], status: Status) -> Result<Vec<RecentRow>, Problem> {
    let found = web.store.recent_builds(namespaces, status, RECENT).await?;
    let visible = |build: &RecentBuild| viewer.caller.may_see(build.repository.namespace(), build.visibility);
    let rows = found.into_iter().filter(visible).map(|build| RecentRow {
        path: format!("/builds/{}", build.id),
        repository: build.repository.to_string(),
        number: build.number,
        status: status.as_str(),
        source: build.source_name,
        when: When::new(build.at, viewer.now),
    });
    Ok(rows.collect())
}

/// Nothing where there is nothing to choose between.
fn namespace_links(mine: &[String], chosen: Option<&str>) -> Vec<NamespaceLink> {
    if mine.len() < 2 {
        return vec![];
    }
    let all = NamespaceLink {
        href: "/".to_owned(),
        label: "All".to_owned(),
        is_current: chosen.is_none(),
    };
    let each = mine.iter().map(|namespace| NamespaceLink {
        href: format!("/?namespace={namespace}"),
        label: namespace.clone(),
        is_current: chosen == Some(namespace),
    });
    std::iter::once(all).chain(each).collect()
}
