//! What a repository stands on: what its builds told of and what was linked by hand, how each stands to the present version,
//! and what of it is followed.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    bases::{Freshness, image_path, source_in_words, tags_of},
    form::Submitted,
    notice::Notice,
    page::{PageResult, done, render_with},
    repository_head::{RepositoryHead, Tab, path_of},
    repository_settings::{change, editable},
    viewer::Viewer,
    words::When,
};
use crate::{
    domain::{access::Role, repository::Repository},
    web::{
        Web,
        audit::Origin,
        auth::{repository_for, visible_repository},
        base_images::{self, BaseUse, RepositoryBase, Watch},
        parameters::{Query, Segments},
        problem::Problem,
    },
};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/r/{namespace}/{name}/bases", get(show))
        .route("/r/{namespace}/{name}/bases/look", post(look))
        .route("/r/{namespace}/{name}/bases/link", post(link))
        .route("/r/{namespace}/{name}/bases/unlink", post(unlink))
        .route("/r/{namespace}/{name}/bases/switch", post(switch))
        .route("/r/{namespace}/{name}/bases/detection", post(set_detection))
}

#[derive(Template)]
#[template(path = "repository_bases.html")]
struct BasesPage {
    viewer: Viewer,
    head: RepositoryHead,
    rows: Vec<Row>,
    /// Whether what builds stand on is followed.
    detects: bool,
    may_edit: bool,
    /// What was typed into the field of the form that links, and what is wrong with it.
    typed: String,
    fault: Option<String>,
}

struct Row {
    /// Fully named.
    image: String,
    name: String,
    /// Its page, where it has one that the viewer may see.
    href: Option<String>,
    is_linked: bool,
    is_detected: bool,
    is_off: bool,
    is_pinned: bool,
    /// What is to be said of it beside its versions.
    remark: Option<&'static str>,
    current: Option<String>,
    since: Option<When>,
    checked: Option<When>,
    gone: Option<When>,
    problem: Option<String>,
    uses: Vec<Use>,
    may_look: bool,
}

/// A ref that was built on it.
struct Use {
    source: String,
    tags: Vec<String>,
    digest: Option<String>,
    /// None where it does not follow the image.
    freshness: Option<Freshness>,
}

impl Row {
    fn new(base: RepositoryBase, may_write: bool, now: DateTime<Utc>) -> Self {
        let when = |at: Option<DateTime<Utc>>| at.map(|at| When::new(at, now));
        let watched = base.watch.watched();
        let is_seen = watched.is_some_and(|watched| watched.digest.is_some());
        Self {
            href: (watched.is_some() && base.is_followed).then(|| image_path(&base.familiar)),
            remark: remark(&base),
            current: watched.and_then(|watched| watched.digest.clone()),
            since: watched.and_then(|watched| when(watched.since)),
            checked: watched.and_then(|watched| when(watched.checked_at)),
            gone: watched.and_then(|watched| when(watched.gone_since)),
            problem: watched.and_then(|watched| watched.problem.clone()),
            may_look: may_write && watched.is_some() && base.is_followed,
            uses: base
                .uses
                .iter()
                .map(|used| Use::new(used, base.is_followed, is_seen, now))
                .collect(),
            is_linked: base.linked,
            is_detected: base.detected,
            is_off: base.ignored,
            is_pinned: base.pinned,
            name: base.familiar,
            image: base.image,
        }
    }
}

fn remark(base: &RepositoryBase) -> Option<&'static str> {
    match &base.watch {
        _ if base.pinned => None,
        _ if base.ignored => Some("When it moves, nothing here is built again."),
        _ if !base.is_followed => Some("It was detected, and detection is switched off: its moves are not followed."),
        Watch::Watched(watched) if watched.digest.is_none() && watched.problem.is_none() => {
            Some("It is looked at for the first time soon.")
        }
        Watch::Watched(_) => None,
        Watch::NotYet if base.uses.is_empty() => {
            Some("It is watched as soon as a build of this repository has pushed an image.")
        }
        Watch::NotYet => Some("It is looked at for the first time soon."),
        Watch::Hidden => {
            Some("It is looked at with credentials of this namespace; its members see what it stands for.")
        }
        Watch::Never => None,
    }
}

impl Use {
    fn new(used: &BaseUse, is_followed: bool, is_seen: bool, now: DateTime<Utc>) -> Self {
        let follows = is_followed && !used.pinned;
        Self {
            source: source_in_words(used.source_type, &used.source_name),
            tags: tags_of(&used.makes),
            digest: used.used.clone(),
            freshness: follows.then(|| Freshness::new(used.outdated, used.behind_since, is_seen, now)),
        }
    }
}

async fn page(
    web: &Web,
    viewer: Viewer,
    repository: &Repository,
    (typed, fault): (String, Option<String>),
) -> PageResult {
    let namespace = repository.name.namespace();
    let may_write = viewer.caller.has_role(namespace, Role::Write);
    let bases = base_images::of_repository(web, &viewer.caller, repository).await?;
    let status = match fault {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    let page = BasesPage {
        head: RepositoryHead::new(web, &viewer, repository, Tab::BaseImages).await?,
        rows: bases
            .into_iter()
            .map(|base| Row::new(base, may_write, viewer.now))
            .collect(),
        detects: repository.detect_base_images,
        may_edit: viewer.caller.has_role(namespace, Role::Admin),
        viewer,
        typed,
        fault,
    };
    render_with(status, &page)
}

async fn show(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
) -> PageResult {
    let repository = visible_repository(&web, &viewer.caller, &name).await?;
    page(&web, viewer, &repository, Default::default()).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageForm {
    image: String,
}

async fn look(
    State(web): State<Web>,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    answer: Answer,
    Submitted { viewer, form }: Submitted<ImageForm>,
) -> PageResult {
    let (repository, _) = repository_for(&web, &viewer.caller, &name, Role::Write).await?;
    // Only what this repository stands on is its writers' to ask for.
    let bases = base_images::of_repository(&web, &viewer.caller, &repository).await?;
    if !bases.iter().any(|base| base.image == form.image) {
        return Err(Problem::not_found("base image"));
    }
    let image = base_images::look_now(&web, &viewer.caller, &form.image).await?;
    let said = format!(
        "{} is looked at as soon as its registry allows.",
        base_images::familiar(&image)
    );
    Ok(answer.done(&bases_path(&repository), &Notice::good(said)))
}

async fn link(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<ImageForm>,
) -> PageResult {
    let repository = editable(&web, &viewer, &name).await?;
    let typed = form.image.trim().to_owned();
    let changed = change(&web, &viewer, &origin, &repository, |document| {
        add(document, "links", &typed);
    });
    match changed.await {
        Ok(()) => Ok(said(
            &repository,
            format!("{typed} is linked: what stands on it is built again when it moves."),
        )),
        Err(problem) => match problem.errors().first().map(|error| error.message.clone()) {
            Some(fault) => page(&web, viewer, &repository, (typed, Some(fault))).await,
            None => Err(problem),
        },
    }
}

async fn unlink(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<ImageForm>,
) -> PageResult {
    let repository = editable(&web, &viewer, &name).await?;
    change(&web, &viewer, &origin, &repository, |document| {
        remove(document, "links", &form.image);
    })
    .await?;
    let name = base_images::familiar(&form.image);
    Ok(said(&repository, format!("The link to {name} was removed.")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchForm {
    image: String,
    follow: YesNo,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum YesNo {
    Yes,
    No,
}

async fn switch(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<SwitchForm>,
) -> PageResult {
    let repository = editable(&web, &viewer, &name).await?;
    let follow = form.follow == YesNo::Yes;
    change(&web, &viewer, &origin, &repository, |document| match follow {
        true => remove(document, "ignored_base_images", &form.image),
        false => add(document, "ignored_base_images", &form.image),
    })
    .await?;
    let name = base_images::familiar(&form.image);
    Ok(said(
        &repository,
        match follow {
            true => format!("{name} is followed again."),
            false => format!("{name} is switched off: nothing here is built again when it moves."),
        },
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DetectionForm {
    detect: YesNo,
}

async fn set_detection(
    State(web): State<Web>,
    origin: Origin,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    Submitted { viewer, form }: Submitted<DetectionForm>,
) -> PageResult {
    let repository = editable(&web, &viewer, &name).await?;
    let detect = form.detect == YesNo::Yes;
    change(&web, &viewer, &origin, &repository, |document| {
        document["detect_base_images"] = json!(detect);
    })
    .await?;
    Ok(said(
        &repository,
        match detect {
            true => "What builds stand on is followed from now on.".to_owned(),
            false => "Only what is linked by hand is followed from now on.".to_owned(),
        },
    ))
}

fn bases_path(repository: &Repository) -> String {
    format!("{}/bases", path_of(repository))
}

fn said(repository: &Repository, text: String) -> Response {
    done(&bases_path(repository), &Notice::good(text))
}

fn add(document: &mut Value, list: &str, image: &str) {
    if let Some(images) = document[list].as_array_mut() {
        images.push(json!(image));
    }
}

fn remove(document: &mut Value, list: &str, image: &str) {
    if let Some(images) = document[list].as_array_mut() {
        images.retain(|listed| listed != image);
    }
}
