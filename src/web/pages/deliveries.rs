//! The ledger of a repository: every webhook, poll and click, what became of it and why, what it held; and taking a webhook
//! once more.

use std::collections::HashMap;

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{
    answer::Answer,
    build_list::Choice,
    form::Submitted,
    notice::Notice,
    page::{PageResult, local_path, render},
    payload::{Payload, payload},
    repository_head::{RepositoryHead, Tab},
    viewer::Viewer,
    words::{self, When},
};
use crate::{
    domain::{
        access::Role,
        delivery::Outcome,
        ids::{BuildId, DeliveryId},
        repository::{Provider, Repository},
    },
    store::{BuildNumber, Delivery, DeliveryFilter},
    web::{
        Web,
        api::deliveries::{replay_delivery, take_outcome},
        audit::Origin,
        auth::repository_for,
        parameters::{FromParameters, Parameters, Query, Segments},
        problem::{FieldError, Problem},
    },
};

/// Deliveries of one page.
const PAGE: u32 = 30;

/// Builds that a row of the list names; the delivery's own page names more.
const BUILDS_IN_LIST: usize = 5;

const BUILDS_ON_PAGE: usize = 200;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/r/{namespace}/{name}/deliveries", get(list))
        .route("/r/{namespace}/{name}/deliveries/{id}", get(one))
        .route("/r/{namespace}/{name}/deliveries/{id}/replay", post(replay))
}

struct ListParameters {
    outcome: Option<Outcome>,
    before: Option<DeliveryId>,
    after: Option<DeliveryId>,
}

impl FromParameters for ListParameters {
    const NAMES: &'static [&'static str] = &["outcome", "before", "after"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        parameters.forget_empty();
        let message = "it is where another page of the list ends";
        Ok(Self {
            outcome: take_outcome(parameters)?,
            before: parameters.take_id("before", message)?.map(DeliveryId::from),
            after: parameters.take_id("after", message)?.map(DeliveryId::from),
        })
    }
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage {
    viewer: Viewer,
    head: RepositoryHead,
    path: String,
    outcomes: Vec<Choice>,
    is_narrowed: bool,
    rows: Vec<DeliveryView>,
    newer: Option<String>,
    older: Option<String>,
    hook: HookView,
}

/// Where the forge sends its webhooks to.
struct HookView {
    url: String,
    forge: String,
    /// Where it is tested there.
    test: &'static str,
}

/// One delivery.
struct DeliveryView {
    id: DeliveryId,
    received: When,
    /// Who sent it, and what it is.
    what: String,
    forge_id: Option<String>,
    /// The state of a build that looks like the outcome.
    looks: &'static str,
    outcome: &'static str,
    reason: String,
    source_name: Option<String>,
    /// Short, and whole.
    commit: Option<(String, String)>,
    builds: Vec<BuildNumber>,
    more_builds: usize,
    /// Whether it came from a forge, and so may be taken once more.
    is_webhook: bool,
}

async fn list(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<(String, String)>,
    Query(parameters): Query<ListParameters>,
) -> PageResult {
    let (repository, _) = repository_for(&web, &viewer.caller, &name, Role::Write).await?;
    let head = RepositoryHead::new(&web, &viewer, &repository, Tab::Deliveries).await?;
    let path = format!("/r/{}/deliveries", repository.name);
    let page = fetch(&web, &repository, &parameters).await?;
    let address = |name: &str, id: &DeliveryId| {
        let outcome = parameters.outcome.map(|outcome| ("outcome", outcome.as_str()));
        let query = Serializer::new(String::new())
            .extend_pairs(outcome)
            .append_pair(name, id.as_str())
            .finish();
        format!("{path}?{query}")
    };
    let (first, last) = (page.deliveries.first(), page.deliveries.last());
    let newer = first
        .filter(|_| page.has_newer)
        .map(|first| address("after", &first.id));
    let older = last.filter(|_| page.has_older).map(|last| address("before", &last.id));
    let rows = views(&web, &viewer, page.deliveries, BUILDS_IN_LIST).await?;
    render(&DeliveriesPage {
        outcomes: outcomes(parameters.outcome),
        is_narrowed: parameters.outcome.is_some(),
        hook: HookView::new(&web, &repository),
        viewer,
        head,
        path,
        rows,
        newer,
        older,
    })
}

struct Page {
    /// Newest first.
    deliveries: Vec<Delivery>,
    has_newer: bool,
    has_older: bool,
}

async fn fetch(web: &Web, repository: &Repository, parameters: &ListParameters) -> Result<Page, Problem> {
    let filter = DeliveryFilter {
        outcome: parameters.outcome,
        before: parameters.before.clone().filter(|_| parameters.after.is_none()),
        after: parameters.after.clone(),
        // One more tells whether there is another page.
        limit: PAGE + 1,
    };
    let size = PAGE as usize;
    let mut deliveries = web.store.deliveries(&repository.id, &filter).await?;
    if parameters.after.is_some() && deliveries.len() > size {
        deliveries.remove(0);
        return Ok(Page {
            deliveries,
            has_newer: true,
            has_older: true,
        });
    }
    if parameters.after.is_some() {
        // The newest page is a full one, whichever way led to it.
        let newest = DeliveryFilter { after: None, ..filter };
        deliveries = web.store.deliveries(&repository.id, &newest).await?;
    }
    let has_older = deliveries.len() > size;
    deliveries.truncate(size);
    Ok(Page {
        deliveries,
        has_newer: parameters.before.is_some() && parameters.after.is_none(),
        has_older,
    })
}

fn outcomes(selected: Option<Outcome>) -> Vec<Choice> {
    let choice = |outcome: Outcome| Choice {
        value: outcome.as_str().to_owned(),
        label: words::outcome(outcome).to_owned(),
        is_selected: selected == Some(outcome),
    };
    Outcome::ALL.into_iter().map(choice).collect()
}

/// The deliveries with the numbers of their builds, all of which are looked up at once.
async fn views(
    web: &Web,
    viewer: &Viewer,
    deliveries: Vec<Delivery>,
    most_builds: usize,
) -> Result<Vec<DeliveryView>, Problem> {
    let ids: Vec<&BuildId> = deliveries
        .iter()
        .flat_map(|delivery| delivery.builds.iter().take(most_builds))
        .collect();
    let numbers = web.store.build_numbers(&ids).await?;
    let numbers: HashMap<BuildId, BuildNumber> = numbers.into_iter().map(|build| (build.id.clone(), build)).collect();
    let views = deliveries
        .into_iter()
        .map(|delivery| DeliveryView::new(delivery, &numbers, most_builds, viewer));
    Ok(views.collect())
}

impl DeliveryView {
    fn new(delivery: Delivery, numbers: &HashMap<BuildId, BuildNumber>, most_builds: usize, viewer: &Viewer) -> Self {
        let is_webhook = Provider::parse(&delivery.provider).is_some();
        let builds = delivery.builds.iter().take(most_builds);
        Self {
            received: When::new(delivery.received_at, viewer.now),
            what: match is_webhook {
                true => format!("{} from {}", delivery.event, forge(&delivery.provider)),
                false => delivery.event,
            },
            forge_id: delivery.delivery_id,
            looks: match delivery.outcome {
                Outcome::Queued => "succeeded",
                Outcome::Refused => "failed",
                Outcome::Duplicate => "superseded",
                Outcome::NoMatch | Outcome::Skipped | Outcome::Ignored => "skipped",
            },
            outcome: words::outcome(delivery.outcome),
            reason: delivery.reason,
            source_name: delivery.source_name,
            commit: delivery.commit.map(|commit| (words::short(&commit).to_owned(), commit)),
            more_builds: delivery.builds.len().saturating_sub(most_builds),
            builds: builds.filter_map(|id| numbers.get(id)).cloned().collect(),
            id: delivery.id,
            is_webhook,
        }
    }
}

/// A forge's name, as it writes it itself.
fn forge(provider: &str) -> String {
    match Provider::parse(provider) {
        Some(Provider::Github) => "GitHub".to_owned(),
        Some(Provider::Bitbucket) => "Bitbucket".to_owned(),
        Some(Provider::BitbucketServer) => "Bitbucket Data Center".to_owned(),
        Some(Provider::Gitlab) => "GitLab".to_owned(),
        Some(Provider::Gitea) => "Gitea or Forgejo".to_owned(),
        None => provider.to_owned(),
    }
}

impl HookView {
    fn new(web: &Web, repository: &Repository) -> Self {
        let provider = repository.source.provider;
        let test = match provider {
            Provider::Github => "Settings, Webhooks, the webhook, Recent deliveries, Redeliver",
            Provider::Bitbucket => "Repository settings, Webhooks, View requests, Resend",
            Provider::BitbucketServer => "Repository settings, Webhooks, Test connection",
            Provider::Gitlab => "Settings, Webhooks, Edit, Recent events, View details, Resend Request",
            Provider::Gitea => "Settings, Webhooks, the webhook, Recent Deliveries, Replay",
        };
        Self {
            url: format!(
                "{}/webhooks/{}/{}",
                web.settings.base_url,
                provider.as_str(),
                repository.hook_id
            ),
            forge: forge(provider.as_str()),
            test,
        }
    }
}

#[derive(Template)]
#[template(path = "delivery.html")]
struct DeliveryPage {
    viewer: Viewer,
    head: RepositoryHead,
    path: String,
    delivery: DeliveryView,
    payload: Payload,
}

async fn one(
    State(web): State<Web>,
    viewer: Viewer,
    Segments((namespace, name, id)): Segments<(String, String, String)>,
    Query(()): Query<()>,
) -> PageResult {
    let (repository, _) = repository_for(&web, &viewer.caller, &(namespace, name), Role::Write).await?;
    let found = web.store.delivery(&repository.id, &DeliveryId::from(id)).await?;
    let (delivery, body) = found.ok_or_else(|| Problem::not_found("delivery"))?;
    let head = RepositoryHead::new(&web, &viewer, &repository, Tab::Deliveries).await?;
    let mut views = views(&web, &viewer, vec![delivery], BUILDS_ON_PAGE).await?;
    let delivery = views.pop().ok_or_else(|| Problem::not_found("delivery"))?;
    render(&DeliveryPage {
        path: format!("/r/{}/deliveries", repository.name),
        payload: payload(body),
        viewer,
        head,
        delivery,
    })
}

#[derive(Deserialize)]
struct ReplayFields {
    /// Where to go on; the list where it is left out.
    next: Option<String>,
}

async fn replay(
    State(web): State<Web>,
    Segments((namespace, name, id)): Segments<(String, String, String)>,
    Query(()): Query<()>,
    answer: Answer,
    origin: Origin,
    Submitted { viewer, form }: Submitted<ReplayFields>,
) -> Result<Response, Problem> {
    let (repository, user) = repository_for(&web, &viewer.caller, &(namespace, name), Role::Write).await?;
    let list = format!("/r/{}/deliveries", repository.name);
    let next = form.next.as_deref().map_or(list.as_str(), local_path);
    let notice = match replay_delivery(&web, &repository, &DeliveryId::from(id), origin.actor(&user.name)).await {
        Ok(accepted) if accepted.queued.is_empty() => {
            Notice::bad(format!("Taken once more; nothing was queued. {}.", accepted.reason))
        }
        Ok(accepted) => {
            let numbers: Vec<String> = accepted
                .queued
                .iter()
                .map(|build| format!("#{}", build.number))
                .collect();
            Notice::good(format!("Taken once more. Queued {}.", numbers.join(", ")))
        }
        Err(problem) if problem.status() == http::StatusCode::CONFLICT => {
            Notice::bad(format!("It was not taken once more: {}.", problem.detail()))
        }
        Err(problem) => return Err(problem),
    };
    Ok(answer.done(next, &notice))
}
