//! One image that is watched: its versions and what they led to, who stands on it, and what would be built again.

use askama::Template;
use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Freshness, image_path, tags_of};
use crate::{
    domain::access::Role,
    web::{
        Web,
        base_images::{self, DryRun, DryRunItem, ImageVersionSeen, StandingOn, VersionWave},
        pages::{
            answer::Answer,
            form::Submitted,
            notice::Notice,
            page::{PageResult, local_path, render},
            viewer::Viewer,
            words::{When, counted},
        },
        parameters::{FromParameters, Parameters, Query},
        problem::FieldError,
    },
};

/// What stands on an image, and what would be built again, of each as many as are shown.
const SHOWN: usize = 500;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/bases/image", get(page))
        .route("/bases/look", post(look))
}

struct ImageParameters {
    name: String,
    /// By whose credentials it is watched, where there are several.
    access: Option<String>,
}

impl FromParameters for ImageParameters {
    const NAMES: &'static [&'static str] = &["name", "access"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let name = parameters.take("name")?;
        Ok(Self {
            name: name.ok_or_else(|| FieldError::new("name", "say which image, as in `?name=alpine:3.20`"))?,
            access: parameters.take("access")?,
        })
    }
}

#[derive(Template)]
#[template(path = "bases/image.html")]
struct ImagePage {
    viewer: Viewer,
    name: String,
    /// Fully named.
    image: String,
    /// The page's own path.
    href: String,
    graph: String,
    may_look: bool,
    /// The repository whose builds push it.
    maker: Option<String>,
    watch: WatchView,
    /// The same image, looked at with the credentials of others.
    others: Vec<OtherAccess>,
    standing: Vec<Standing>,
    standing_count: usize,
    consequences: Vec<Consequence>,
    consequences_count: usize,
    versions: Vec<Version>,
}

/// How it was seen at its registry.
struct WatchView {
    access: Option<String>,
    digest: Option<String>,
    since: Option<When>,
    checked: Option<When>,
    gone: Option<When>,
    problem: Option<String>,
}

struct OtherAccess {
    href: String,
    label: String,
}

struct Standing {
    repository: String,
    tags: Vec<String>,
    used: Option<String>,
    by_hand: bool,
    freshness: Freshness,
}

struct Consequence {
    place: usize,
    repository: String,
    tags: Vec<String>,
    /// Why then.
    why: String,
}

struct Version {
    digest: String,
    seen: When,
    is_current: bool,
    led_to: Vec<LedTo>,
}

struct LedTo {
    href: String,
    label: String,
}

async fn page(State(web): State<Web>, viewer: Viewer, Query(parameters): Query<ImageParameters>) -> PageResult {
    let ImageParameters { name, access } = parameters;
    let view = base_images::image(&web, &viewer.caller, &name, access.as_deref()).await?;
    let dry_run = base_images::consequences(&web, &viewer.caller, &name).await?;
    let now = viewer.now;
    let (summary, watched) = (&view.summary, &view.summary.watched);
    let when = |at: Option<DateTime<Utc>>| at.map(|at| When::new(at, now));
    let is_seen = watched.digest.is_some();
    let href = image_path(&summary.familiar);
    render(&ImagePage {
        graph: href.replacen("/bases/image?name=", "/bases/graph?base=", 1),
        may_look: viewer.is_admin()
            || view
                .standing
                .iter()
                .any(|row| viewer.caller.has_role(row.repository.namespace(), Role::Write)),
        maker: summary.made_by.as_ref().map(ToString::to_string),
        watch: WatchView {
            access: Some(watched.key.access.clone()).filter(|access| !access.is_empty()),
            digest: watched.digest.clone(),
            since: when(watched.since),
            checked: when(watched.checked_at),
            gone: when(watched.gone_since),
            problem: watched.problem.clone(),
        },
        others: view
            .other_accesses
            .iter()
            .map(|access| OtherAccess::new(&href, access))
            .collect(),
        standing_count: view.standing.len(),
        standing: view
            .standing
            .iter()
            .take(SHOWN)
            .map(|row| Standing::new(row, is_seen, now))
            .collect(),
        consequences_count: dry_run.items.len(),
        consequences: consequences(&dry_run),
        versions: view
            .versions
            .into_iter()
            .map(|version| Version::new(version, now))
            .collect(),
        name: summary.familiar.clone(),
        image: watched.key.image.clone(),
        href,
        viewer,
    })
}

impl OtherAccess {
    fn new(href: &str, access: &str) -> Self {
        Self {
            href: format!("{href}&access={access}"),
            label: match access {
                "" => "with the server's credentials".to_owned(),
                access => format!("with those of {access}"),
            },
        }
    }
}

impl Standing {
    fn new(row: &StandingOn, is_seen: bool, now: DateTime<Utc>) -> Self {
        Self {
            repository: row.repository.to_string(),
            tags: tags_of(&row.makes),
            used: row.used.clone(),
            by_hand: row.by_hand,
            freshness: Freshness::new(row.outdated, row.behind_since, is_seen, now),
        }
    }
}

fn consequences(dry_run: &DryRun) -> Vec<Consequence> {
    let items = dry_run.items.iter().take(SHOWN).enumerate();
    items
        .map(|(index, item)| Consequence {
            place: index + 1,
            repository: item.repository.to_string(),
            tags: tags_of(&item.makes),
            why: why(item, &dry_run.familiar),
        })
        .collect()
}

/// `stands on alpine:3.20 itself`, `after 1 and 3`.
fn why(item: &DryRunItem, moved: &str) -> String {
    if let Some(back) = &item.cut {
        let back = base_images::familiar(back);
        return format!("not built: it stands on {back}, which stands on it in turn; the circle is cut here");
    }
    let places: Vec<String> = item.after.iter().map(|before| (before + 1).to_string()).collect();
    match (item.depth, places.split_last()) {
        (_, Some((only, []))) => format!("after {only}"),
        (_, Some((last, rest))) => format!("after {} and {last}", rest.join(", ")),
        (0, None) => format!("stands on {moved} itself"),
        (depth, None) => format!("stands on it through {}", counted(depth as i64, "other image")),
    }
}

impl Version {
    fn new(version: ImageVersionSeen, now: DateTime<Utc>) -> Self {
        Self {
            seen: When::new(version.first_seen_at, now),
            digest: version.digest,
            is_current: version.is_current,
            led_to: version.waves.iter().map(LedTo::new).collect(),
        }
    }
}

impl LedTo {
    fn new(wave: &VersionWave) -> Self {
        let images: i64 = wave.counts.iter().map(|(_, count)| count).sum();
        Self {
            href: format!("/waves/{}", wave.id),
            label: format!("a wave of {}, {}", counted(images, "image"), wave.state.as_str()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookForm {
    image: String,
    /// Where to go on.
    next: String,
}

async fn look(
    State(web): State<Web>,
    Query(()): Query<()>,
    answer: Answer,
    Submitted { viewer, form }: Submitted<LookForm>,
) -> PageResult {
    let image = base_images::look_now(&web, &viewer.caller, &form.image).await?;
    let said = format!(
        "{} is looked at as soon as its registry allows.",
        base_images::familiar(&image)
    );
    Ok(answer.done(local_path(&form.next), &Notice::good(said)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ids::BuildId, repository::RepositoryName, rule::SourceType};

    #[test]
    fn every_place_in_the_order_has_its_reason() {
        let item = |depth, after: &[usize], cut: Option<&str>| DryRunItem {
            repository: RepositoryName::new("team", "app").unwrap(),
            build: BuildId::from("b"),
            source_type: SourceType::Branch,
            source_name: "main".to_owned(),
            makes: vec![],
            depth,
            after: after.to_vec(),
            cut: cut.map(str::to_owned),
        };
        let why = |depth, after, cut| why(&item(depth, after, cut), "alpine:3.20");
        assert_eq!(why(0, &[], None), "stands on alpine:3.20 itself");
        assert_eq!(why(1, &[0], None), "after 1");
        assert_eq!(why(2, &[0, 1, 4], None), "after 1, 2 and 5");
        assert!(why(1, &[], Some("docker.io/library/a:1")).contains("stands on a:1, which"));
    }
}
