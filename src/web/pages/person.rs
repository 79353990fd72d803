//! A person's page: what they say of themselves, and what of theirs the viewer may see.

use askama::Template;
use axum::{Router, extract::State, routing::get};

use super::{
    page::{PageResult, render},
    repository_list::{ListParameters, RepositoryList},
    viewer::Viewer,
    words::When,
};
use crate::{
    domain::repository::check_name,
    store::{Profile, RepositoryFilter},
    web::{
        Web,
        parameters::{Query, Segments},
        problem::Problem,
    },
};

/// Organisations that are shown.
const MOST_ORGANISATIONS: u32 = 50;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/u/{name}", get(show))
}

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    viewer: Viewer,
    name: String,
    initial: String,
    profile: Profile,
    is_admin: bool,
    since: When,
    is_oneself: bool,
    /// Names of those that the viewer belongs to as well.
    organisations: Vec<String>,
    list: RepositoryList,
}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<String>,
    Query(()): Query<()>,
) -> PageResult {
    let missing = || Problem::not_found("person");
    check_name(&name).map_err(|_| missing())?;
    let person = web.store.user_named(&name).await?.ok_or_else(missing)?;
    let profile = web.store.profile(&person.id).await?.ok_or_else(missing)?;
    let is_oneself = viewer.name() == Some(person.name.as_str());
    // Who belongs to an organisation is for its members to know.
    let shares = |organisation: &str| {
        let viewer = viewer.user().ok();
        viewer.is_some_and(|viewer| viewer.role_in(organisation).is_some())
    };
    let organisations = web
        .store
        .organisations(&person.id, false, None, MOST_ORGANISATIONS)
        .await?;
    let organisations = organisations.into_iter().map(|(organisation, _)| organisation.name);
    let organisations = organisations.filter(|name| shares(name)).collect();
    let mut parameters = ListParameters::default();
    parameters.namespace = Some(person.name.clone());
    let filter = RepositoryFilter::new(viewer.caller.sight(), 0);
    // Filtering and further pages are Explore's, of this namespace.
    let list = RepositoryList::load(&web, viewer.now, "/explore", filter, parameters).await?;
    render(&PersonPage {
        since: When::new(person.created_at, viewer.now),
        is_admin: person.is_admin,
        initial: person.name.chars().take(1).collect(),
        name: person.name,
        viewer,
        profile,
        is_oneself,
        organisations,
        list,
    })
}
