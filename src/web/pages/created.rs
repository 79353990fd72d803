//! After a repository was made: its webhook, how to enter it where the source is, and whether the first delivery has arrived.
//! The secret is on this page once, right after it was made.

use askama::Template;
use axum::{Router, extract::State, routing::get};
use axum_extra::extract::CookieJar;

use super::{
    page::{PageResult, render},
    shown_once,
    viewer::Viewer,
    words::When,
};
use crate::{
    domain::{
        access::Role,
        build::Cause,
        repository::{Provider, Repository},
    },
    store::{BuildFilter, DeliveryFilter, Sight},
    web::{
        Web,
        auth::repository_for,
        parameters::{Query, Segments},
        problem::Problem,
    },
};

/// Builds that are looked at to find the first ones; each rule has at most one.
const FIRST_BUILDS: u32 = 20;

/// Deliveries that are looked at to find one of a forge.
const DELIVERIES: u32 = 50;

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/r/{namespace}/{name}/created", get(show))
}

#[derive(Template)]
#[template(path = "created.html")]
struct CreatedPage {
    viewer: Viewer,
    repository: String,
    provider: &'static str,
    source_url: String,
    /// Where the forge has its settings of webhooks, if that can be told from the address.
    forge_page: Option<String>,
    webhook_url: String,
    secret: Option<String>,
    arrived: Option<Arrived>,
    builds: Vec<FirstBuild>,
    /// Whether rules wait for a push that matches them.
    has_patterns: bool,
}

struct Arrived {
    event: String,
    outcome: &'static str,
    reason: String,
    at: When,
}

struct FirstBuild {
    id: String,
    number: i64,
    status: &'static str,
    source_name: String,
    tags: String,
}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    cookies: CookieJar,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> PageResult {
    viewer.user()?;
    let (repository, _) = repository_for(&web, &viewer.caller, &name, Role::Admin).await?;
    let secret = shown_once::waiting(&web, &viewer, &repository, &cookies);
    let page = CreatedPage {
        repository: repository.name.to_string(),
        provider: repository.source.provider.as_str(),
        forge_page: forge_page(&repository),
        webhook_url: webhook_url(&web, &repository),
        arrived: arrived(&web, &viewer, &repository).await?,
        builds: first_builds(&web, &repository).await?,
        has_patterns: repository.rules.iter().any(|rule| rule.literal_source().is_none()),
        source_url: repository.source.url.clone(),
        secret,
        viewer,
    };
    let response = render(&page)?;
    Ok(shown_once::forget(&web, &repository, response))
}

/// Where a forge is to report pushes.
pub(super) fn webhook_url(web: &Web, repository: &Repository) -> String {
    format!(
        "{}/webhooks/{}/{}",
        web.settings.base_url,
        repository.source.provider.as_str(),
        repository.hook_id
    )
}

fn forge_page(repository: &Repository) -> Option<String> {
    let source = repository.source.url.trim_end_matches('/').trim_end_matches(".git");
    match repository.source.provider {
        Provider::Github if source.starts_with("https://github.com/") => Some(format!("{source}/settings/hooks/new")),
        Provider::Bitbucket if source.starts_with("https://bitbucket.org/") => Some(format!("{source}/admin/webhooks")),
        Provider::Gitlab if source.starts_with("https://gitlab.com/") => Some(format!("{source}/-/hooks")),
        Provider::Gitea if source.starts_with("https://codeberg.org/") => {
            Some(format!("{source}/settings/hooks/forgejo/new"))
        }
        Provider::Gitea if source.starts_with("https://gitea.com/") => {
            Some(format!("{source}/settings/hooks/gitea/new"))
        }
        _ => None,
    }
}

/// The newest delivery that came from outside.
async fn arrived(web: &Web, viewer: &Viewer, repository: &Repository) -> Result<Option<Arrived>, Problem> {
    let newest = DeliveryFilter {
        limit: DELIVERIES,
        ..DeliveryFilter::default()
    };
    let deliveries = web.store.deliveries(&repository.id, &newest).await?;
    let found = deliveries
        .into_iter()
        .find(|delivery| Provider::parse(&delivery.provider).is_some());
    Ok(found.map(|delivery| Arrived {
        event: delivery.event,
        outcome: delivery.outcome.as_str(),
        reason: delivery.reason,
        at: When::new(delivery.received_at, viewer.now),
    }))
}

async fn first_builds(web: &Web, repository: &Repository) -> Result<Vec<FirstBuild>, Problem> {
    let filter = BuildFilter {
        repository: Some(repository.id.clone()),
        sight: Sight::Everything,
        limit: FIRST_BUILDS,
        ..BuildFilter::default()
    };
    let builds = web.store.builds(&filter).await?;
    let first = builds
        .into_iter()
        .filter(|build| matches!(build.cause, Cause::Create { .. }));
    let shown = first.map(|build| FirstBuild {
        id: build.id.to_string(),
        number: build.number,
        status: build.status.as_str(),
        tags: build.plan.tags.join(", "),
        source_name: build.source_name,
    });
    Ok(shown.collect())
}
