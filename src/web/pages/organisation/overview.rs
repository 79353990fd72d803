//! An organisation's repositories, as far as the viewer may see them.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use super::{OrganisationHead, Tab};
use crate::{
    domain::access::Role,
    store::RepositoryFilter,
    web::{
        Web, organisations,
        pages::{
            page::{PageResult, render},
            repository_list::{ListParameters, RepositoryList},
            viewer::Viewer,
            words::When,
        },
        parameters::{Query, Segments},
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/o/{organisation}", get(show))
}

#[derive(Template)]
#[template(path = "organisation/overview.html")]
struct Overview {
    viewer: Viewer,
    head: OrganisationHead,
    since: When,
    default_visibility: &'static str,
    /// Whether the viewer may make repositories here.
    may_create: bool,
    list: RepositoryList,
}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
) -> PageResult {
    let organisation = organisations::find(&web, &name).await?;
    let mut parameters = ListParameters::default();
    parameters.namespace = Some(organisation.name.clone());
    let filter = RepositoryFilter::new(viewer.caller.sight(), 0);
    // Filtering and further pages are Explore's, of this namespace.
    let list = RepositoryList::load(&web, viewer.now, "/explore", filter, parameters).await?;
    let head = OrganisationHead::new(&viewer, &organisation, Tab::Repositories);
    render(&Overview {
        since: When::new(organisation.created_at, viewer.now),
        default_visibility: organisation.default_visibility.as_str(),
        may_create: head.role >= Some(Role::Admin),
        head,
        viewer,
        list,
    })
}
