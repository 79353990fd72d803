//! Builds: the list of all that one may see, and the list of a repository's.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use super::{
    build_list::{BuildList, ListParameters},
    page::{PageResult, render},
    repository_head::{RepositoryHead, Tab},
    trigger::TriggerForm,
    viewer::Viewer,
};
use crate::web::{
    Web,
    auth::visible_repository,
    parameters::{Query, Segments},
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/builds", get(all))
        .route("/r/{namespace}/{name}/builds", get(of_repository))
}

#[derive(Template)]
#[template(path = "builds.html")]
struct BuildsPage {
    viewer: Viewer,
    list: BuildList,
}

async fn all(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<ListParameters>) -> PageResult {
    let list = BuildList::of_all(&web, &viewer, parameters).await?;
    render(&BuildsPage { viewer, list })
}

#[derive(Template)]
#[template(path = "repository_builds.html")]
struct RepositoryBuildsPage {
    viewer: Viewer,
    head: RepositoryHead,
    trigger: Option<TriggerForm>,
    list: BuildList,
}

async fn of_repository(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<(String, String)>,
    Query(parameters): Query<ListParameters>,
) -> PageResult {
    let repository = visible_repository(&web, &viewer.caller, &name).await?;
    let head = RepositoryHead::new(&web, &viewer, &repository, Tab::Builds).await?;
    let list = BuildList::of_repository(&web, &viewer, &repository, parameters).await?;
    render(&RepositoryBuildsPage {
        trigger: TriggerForm::new(&viewer, &repository, &list.path),
        viewer,
        head,
        list,
    })
}
