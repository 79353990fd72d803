//! A repository's page: what it is, how to pull it, what it stands on and how its builds went.

use askama::Template;
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::json;

use super::{
    build_chart::{self, BuildChart},
    form::Submitted,
    markdown::{self, SafeHtml},
    page::{PageResult, render, see_other},
    repository_head::{RepositoryHead, Tab, path_of},
    repository_tags::TagRow,
    trigger::TriggerForm,
    viewer::Viewer,
    watching::WatchingCard,
    words::{When, short},
};
use crate::{
    domain::{build::BaseImage, documents::Document, repository::Repository, rule::Rule},
    store::RepositoryDocuments,
    web::{
        Web,
        api::polls,
        auth::visible_repository,
        base_images::{self, RepositoryBase},
        parameters::{Query, Segments},
        problem::Problem,
    },
};

/// Tags that stand beside the README.
const LATEST_TAGS: u32 = 5;

/// Rules with a schedule that are shown; the settings have all.
const MOST_SCHEDULES: usize = 10;

/// Most lines that are shown of a Dockerfile; the repository has the rest.
const MOST_LINES: usize = 2000;

/// Longest text of a README that is taken for Markdown, in bytes: making sense of it takes time.
const LONGEST_MARKDOWN: usize = 128 * 1024;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/r/{namespace}/{name}", get(overview))
        .route("/r/{namespace}/{name}/star", post(star))
}

#[derive(Template)]
#[template(path = "repository.html")]
struct Overview {
    viewer: Viewer,
    head: RepositoryHead,
    trigger: Option<TriggerForm>,
    pull: String,
    chart: Option<BuildChart>,
    readme: Option<Readme>,
    dockerfile: Option<Dockerfile>,
    /// The build that README, Dockerfile and base images are of.
    of_build: Option<OfBuild>,
    bases: Vec<BaseRow>,
    schedules: Vec<ScheduleRow>,
    /// What it stands on that has moved since.
    behind: Option<Behind>,
    tags: Vec<TagRow>,
    source: SourceAddress,
    watching: WatchingCard,
    updated: When,
    badge: Badge,
}

struct Readme {
    path: String,
    is_cut: bool,
    text: Text,
}

enum Text {
    Markdown(SafeHtml),
    Plain(String),
}

struct Dockerfile {
    path: String,
    lines: Vec<String>,
    is_cut: bool,
}

struct OfBuild {
    path: String,
    number: i64,
}

/// Base images of which something here was built on an old version.
struct Behind {
    names: Vec<String>,
    /// Since when the first of them is.
    since: Option<When>,
}

struct BaseRow {
    name: String,
    digest: Option<String>,
    short: String,
}

/// A rule that builds without a push.
struct ScheduleRow {
    rule: String,
    cron: String,
    time_zone: String,
    no_cache: bool,
    next: Option<When>,
}

impl ScheduleRow {
    fn new(rule: &Rule, now: DateTime<Utc>) -> Option<Self> {
        let schedule = rule.schedule.as_ref()?;
        Some(Self {
            rule: format!("{} → {}", rule.source, rule.docker_tag),
            cron: schedule.cron.clone(),
            time_zone: schedule.time_zone.clone(),
            no_cache: schedule.no_cache,
            next: schedule.next_after(now).map(|next| When::new(next, now)),
        })
    }
}

/// What to put into a README elsewhere.
struct Badge {
    path: String,
    markdown: String,
    html: String,
    /// The one for base images.
    bases_path: String,
    bases_markdown: String,
}

async fn overview(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> PageResult {
    let repository = visible_repository(&web, &viewer.caller, &name).await?;
    let head = RepositoryHead::new(&web, &viewer, &repository, Tab::Overview).await?;
    let now = viewer.now;
    let tags = web.store.repository_tags(&repository.id, None, LATEST_TAGS).await?;
    let history = web.store.build_history(&repository.id, build_chart::SHOWN).await?;
    let documents = web.store.repository_documents(&repository.id).await?;
    let build = match &documents {
        Some(RepositoryDocuments { build, .. }) => web.store.build(build).await?,
        None => None,
    };
    let image = web.image_of(&repository);
    let (readme, dockerfile) = documents
        .map(|found| (found.documents.readme, found.documents.dockerfile))
        .unwrap_or_default();
    let pull = match tags.first() {
        Some(tag) => format!("docker pull {}:{}", image_for_pull(&image, &tag.image), tag.tag),
        None => format!("docker pull {image}"),
    };
    let behind = Behind::find(&web, &viewer, &repository).await?;
    let page = Overview {
        badge: Badge::new(&web.settings.base_url, &repository.name.to_string()),
        pull,
        chart: (!history.is_empty()).then(|| BuildChart::new(&history, now)),
        readme: readme.map(Readme::new),
        dockerfile: dockerfile.map(Dockerfile::new),
        of_build: build.as_ref().map(|build| OfBuild {
            path: format!("/builds/{}", build.id),
            number: build.number,
        }),
        bases: build
            .map(|build| build.base_images.into_iter().map(BaseRow::new).collect())
            .unwrap_or_default(),
        schedules: repository
            .rules
            .iter()
            .filter_map(|rule| ScheduleRow::new(rule, now))
            .take(MOST_SCHEDULES)
            .collect(),
        behind,
        tags: tags.into_iter().map(|tag| TagRow::new(tag, &image, now)).collect(),
        source: SourceAddress::new(&repository.source.url),
        watching: WatchingCard::new(polls::watching(&web, &viewer.caller, &repository).await?, now),
        updated: When::new(repository.updated_at, now),
        trigger: TriggerForm::new(&viewer, &repository, &head.path),
        viewer,
        head,
    };
    render(&page)
}

/// The name under which an image is pulled: as it is configured, where it still is the one that was pushed. What is kept
/// with a tag is fully named, which reads badly for Docker Hub's.
pub(super) fn image_for_pull<'a>(configured: &'a str, pushed: &'a str) -> &'a str {
    let is_same = crate::domain::image::ImageReference::parse(configured).is_ok_and(|image| image.name() == pushed);
    if is_same { configured } else { pushed }
}

/// Where the source is.
struct SourceAddress {
    /// Without what every address has.
    shown: String,
    /// Where a browser finds it: only what is plainly a page of a web server.
    link: Option<String>,
}

impl SourceAddress {
    fn new(address: &str) -> Self {
        let is_plain = url::Url::parse(address)
            .is_ok_and(|url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none());
        if !is_plain {
            return Self {
                shown: address.to_owned(),
                link: None,
            };
        }
        let link = address.strip_suffix(".git").unwrap_or(address);
        Self {
            shown: link.split_once("://").map_or(link, |(_, rest)| rest).to_owned(),
            link: Some(link.to_owned()),
        }
    }
}

impl Readme {
    fn new(document: Document) -> Self {
        let is_markdown = document.path.rsplit_once('.').is_some_and(|(_, extension)| {
            ["md", "markdown"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        });
        let text = match is_markdown && document.text.len() <= LONGEST_MARKDOWN {
            true => Text::Markdown(markdown::render(&document.text)),
            false => Text::Plain(document.text),
        };
        Self {
            path: document.path,
            is_cut: document.is_cut,
            text,
        }
    }
}

impl Dockerfile {
    fn new(document: Document) -> Self {
        let mut lines: Vec<String> = document.text.lines().map(str::to_owned).collect();
        let is_cut = document.is_cut || lines.len() > MOST_LINES;
        lines.truncate(MOST_LINES);
        Self {
            path: document.path,
            lines,
            is_cut,
        }
    }
}

impl Behind {
    async fn find(web: &Web, viewer: &Viewer, repository: &Repository) -> Result<Option<Self>, Problem> {
        let mut bases = base_images::of_repository(web, &viewer.caller, repository).await?;
        bases.retain(RepositoryBase::is_outdated);
        let since = bases.iter().filter_map(RepositoryBase::behind_since).min();
        Ok((!bases.is_empty()).then(|| Self {
            since: since.map(|since| When::new(since, viewer.now)),
            names: bases.into_iter().map(|base| base.familiar).collect(),
        }))
    }
}

impl BaseRow {
    fn new(image: BaseImage) -> Self {
        Self {
            short: image
                .digest
                .as_deref()
                .map(|digest| short(digest).to_owned())
                .unwrap_or_default(),
            name: image.name,
            digest: image.digest,
        }
    }
}

impl Badge {
    fn new(base_url: &str, name: &str) -> Self {
        let path = format!("/badge/{name}.svg");
        let (image, page) = (format!("{base_url}{path}"), format!("{base_url}/r/{name}"));
        let bases_path = format!("/badge/{name}/bases.svg");
        Self {
            bases_markdown: format!("[![base images]({base_url}{bases_path})]({page}/bases)"),
            bases_path,
            markdown: format!("[![build]({image})]({page})"),
            html: format!("<a href=\"{page}\"><img src=\"{image}\" alt=\"build\"></a>"),
            path,
        }
    }
}

/// `yes` gives a star, `no` takes it back: sent twice, it says the same.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StarForm {
    star: YesNo,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum YesNo {
    Yes,
    No,
}

async fn star(
    State(web): State<Web>,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    headers: HeaderMap,
    Submitted { viewer, form }: Submitted<StarForm>,
) -> Result<Response, Problem> {
    let user = viewer.user()?;
    let repository = visible_repository(&web, &viewer.caller, &name).await?;
    let said = match form.star {
        YesNo::Yes => {
            web.store.star(&user.id, &repository.id, viewer.now).await?;
            "Starred"
        }
        YesNo::No => {
            web.store.unstar(&user.id, &repository.id).await?;
            "Star taken back"
        }
    };
    let for_script = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept == "application/json");
    match for_script {
        true => Ok(Json(json!({ "notice": said })).into_response()),
        false => Ok(see_other(&path_of(&repository))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_become_links() {
        let check = |address: &str, shown: &str, link: Option<&str>| {
            let source = SourceAddress::new(address);
            assert_eq!((source.shown.as_str(), source.link.as_deref()), (shown, link));
        };
        check(
            "https://github.com/acme/app.git",
            "github.com/acme/app",
            Some("https://github.com/acme/app"),
        );
        for address in [
            "https://user:pw@github.com/acme/app.git",
            "http://127.0.0.1:1/app.git",
            "file:///srv/app",
            "javascript:alert(1)",
        ] {
            check(address, address, None);
        }
    }

    #[test]
    fn an_image_is_pulled_by_the_name_that_people_gave_it() {
        assert_eq!(image_for_pull("team/app", "docker.io/team/app"), "team/app");
        assert_eq!(
            image_for_pull("r.example.com/new/app", "r.example.com/old/app"),
            "r.example.com/old/app"
        );
    }
}
