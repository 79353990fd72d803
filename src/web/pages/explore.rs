//! Repositories to look through: those that everybody may see, those that one has starred, those that one has had a hand in.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use super::{
    page::{PageResult, render},
    repository_list::{ListParameters, RepositoryList},
    viewer::Viewer,
};
use crate::{
    store::{RepositoryFilter, Sight},
    web::{Web, parameters::Query},
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/explore", get(explore))
        .route("/stars", get(stars))
        .route("/contributed", get(contributed))
}

#[derive(Template)]
#[template(path = "explore.html")]
struct Explore {
    viewer: Viewer,
    title: String,
    about: &'static str,
    /// What to say and do where there is nothing at all.
    empty: (&'static str, &'static str),
    list: RepositoryList,
}

async fn explore(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<ListParameters>) -> PageResult {
    // Of one namespace, what the viewer may see; of all, what everybody may.
    let (title, sight) = match &parameters.namespace {
        Some(namespace) => (format!("Repositories of {namespace}"), viewer.caller.sight()),
        None => ("Explore".to_owned(), Sight::Public),
    };
    let list = RepositoryList::load(
        &web,
        viewer.now,
        "/explore",
        RepositoryFilter::new(sight, 0),
        parameters,
    )
    .await?;
    render(&Explore {
        viewer,
        title,
        about: "The public repositories of this server, the most starred first.",
        empty: (
            "Nothing is public yet",
            "Repositories whose visibility is public appear here for everybody.",
        ),
        list,
    })
}

async fn stars(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<ListParameters>) -> PageResult {
    let filter = RepositoryFilter {
        starred_by: Some(viewer.user()?.id.clone()),
        ..RepositoryFilter::new(viewer.caller.sight(), 0)
    };
    let list = RepositoryList::load(&web, viewer.now, "/stars", filter, parameters).await?;
    render(&Explore {
        viewer,
        title: "Stars".to_owned(),
        about: "The repositories that you starred.",
        empty: (
            "No stars yet",
            "Star a repository on its page, and you find it here again.",
        ),
        list,
    })
}

async fn contributed(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<ListParameters>) -> PageResult {
    let user = viewer.user()?;
    let filter = RepositoryFilter {
        contributed_by: Some(user.id.clone()),
        outside: Some(user.name.clone()),
        ..RepositoryFilter::new(viewer.caller.sight(), 0)
    };
    let list = RepositoryList::load(&web, viewer.now, "/contributed", filter, parameters).await?;
    render(&Explore {
        viewer,
        title: "Contributed".to_owned(),
        about: "Repositories of others in which you triggered, retried or changed something.",
        empty: (
            "No contributions yet",
            "Trigger, retry or change something in a repository of an organisation or another person, and you find it here.",
        ),
        list,
    })
}
