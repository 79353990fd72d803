//! Badges: how a repository's builds go, and whether its images stand on what they were built on still, as small pictures for
//! READMEs elsewhere.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use super::viewer::Viewer;
use crate::{
    domain::{build::Status, ids::RuleId, image::is_valid_tag, repository::Visibility},
    store::StatusOf,
    web::{
        Web,
        auth::{Caller, visible_repository},
        base_images::{RepositoryBase, of_repository},
        parameters::{FromParameters, Parameters, Query, Segments},
        problem::{FieldError, Problem},
    },
};

/// Width of a character that is in no other class, in tenths of a pixel, of Verdana at 11 pixels.
const USUAL_WIDTH: u32 = 68;

/// Longest label, in characters; a tag may be longer, and is cut.
const LONGEST_LABEL: usize = 40;

/// Room beside each text, in pixels.
const PADDING: u32 = 6;

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .route("/badge/{namespace}/{file}", get(badge))
        .route("/badge/{namespace}/{name}/bases.svg", get(bases_badge))
}

/// Of what the state is shown: a rule by its id, a tag by its name; by default the whole repository.
struct BadgeParameters {
    of: StatusOf,
}

impl FromParameters for BadgeParameters {
    const NAMES: &'static [&'static str] = &["rule", "tag"];

    fn take_from(parameters: &mut Parameters) -> Result<Self, FieldError> {
        let of = match (parameters.take("rule")?, parameters.take("tag")?) {
            (None, None) => StatusOf::Repository,
            (Some(rule), None) => StatusOf::Rule(RuleId::from(rule)),
            (None, Some(tag)) if is_valid_tag(&tag) => StatusOf::Tag(tag),
            (None, Some(_)) => return Err(FieldError::new("tag", "it is none that an image can have")),
            (Some(_), Some(_)) => return Err(FieldError::new("rule", "give either a rule or a tag")),
        };
        Ok(Self { of })
    }
}

#[derive(Template)]
#[template(path = "badge.svg", escape = "html")]
struct Picture {
    label: String,
    message: String,
    colour: &'static str,
    left: u32,
    right: u32,
}

const GREEN: &str = "#136c38";
const RED: &str = "#ae231c";
const AMBER: &str = "#815000";
const GREY: &str = "#53616e";

impl Picture {
    fn new(label: &str, message: impl Into<String>, colour: &'static str) -> Self {
        let message = message.into();
        let mut shown: String = label.chars().take(LONGEST_LABEL).collect();
        if shown.len() < label.len() {
            shown.push('…');
        }
        Self {
            left: width(&shown) + 2 * PADDING,
            right: width(&message) + 2 * PADDING,
            label: shown,
            message,
            colour,
        }
    }

    fn of_builds(label: &str, status: Option<Status>) -> Self {
        let (message, colour) = match status {
            Some(Status::Succeeded) => ("succeeded", GREEN),
            Some(Status::Failed) => ("failed", RED),
            Some(Status::Running) => ("running", AMBER),
            _ => ("unknown", GREY),
        };
        Self::new(label, message, colour)
    }

    fn of_bases(bases: &[RepositoryBase], now: DateTime<Utc>) -> Self {
        let label = "base images";
        let is_known = |base: &RepositoryBase| base.watch.watched().is_some_and(|watched| watched.digest.is_some());
        let built: Vec<&RepositoryBase> = bases.iter().filter(|base| !base.uses.is_empty()).collect();
        if built.iter().any(|base| base.is_outdated()) {
            let since = built.iter().filter_map(|base| base.behind_since()).min();
            return Self::new(label, behind(since.map(|since| now - since)), AMBER);
        }
        match built.is_empty() || built.iter().any(|base| base.is_followed && !is_known(base)) {
            true => Self::new(label, "unknown", GREY),
            false => Self::new(label, "up to date", GREEN),
        }
    }
}

/// For how long, in the largest whole unit.
fn behind(time: Option<TimeDelta>) -> String {
    let counted = |count: i64, unit: &str| match count {
        1 => format!("behind 1 {unit}"),
        count => format!("behind {count} {unit}s"),
    };
    match time {
        Some(time) if time.num_days() > 0 => counted(time.num_days(), "day"),
        Some(time) if time.num_hours() > 0 => counted(time.num_hours(), "hour"),
        _ => "behind".to_owned(),
    }
}

/// The width of a text in pixels, about.
fn width(text: &str) -> u32 {
    let tenths: u32 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '!' | '|' | '\'' => 32,
            'f' | 'r' | 't' | ' ' | '-' | '(' | ')' | '/' | '\\' | '_' => 44,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 100,
            c if c.is_ascii() => USUAL_WIDTH,
            // Characters of other scripts may be as wide as high.
            _ => 110,
        })
        .sum();
    tenths.div_ceil(10)
}

async fn badge(
    State(web): State<Web>,
    viewer: Viewer,
    Segments((namespace, file)): Segments<(String, String)>,
    Query(BadgeParameters { of }): Query<BadgeParameters>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = file.strip_suffix(".svg").ok_or_else(|| Problem::not_found("badge"))?;
    let repository = visible_repository(&web, &viewer.caller, &(namespace, name.to_owned())).await?;
    let status = web.store.last_telling_status(&repository.id, &of).await?;
    let label = match &of {
        StatusOf::Tag(tag) => tag.as_str(),
        StatusOf::Repository | StatusOf::Rule(_) => "build",
    };
    answer(&Picture::of_builds(label, status), repository.visibility, &headers)
}

/// Whether what the repository's tags hold stands on what its base images stand for now.
async fn bases_badge(
    State(web): State<Web>,
    viewer: Viewer,
    Segments(name): Segments<(String, String)>,
    Query(()): Query<()>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let repository = visible_repository(&web, &viewer.caller, &name).await?;
    // What others may keep must not depend on who asked for it.
    let reader = match repository.visibility {
        Visibility::Public => &Caller::Anonymous,
        Visibility::Private => &viewer.caller,
    };
    let bases = of_repository(&web, reader, &repository).await?;
    let picture = Picture::of_bases(&bases, web.clock.now());
    answer(&picture, repository.visibility, &headers)
}

fn answer(picture: &Picture, visibility: Visibility, headers: &HeaderMap) -> Result<Response, Problem> {
    let svg = picture.render().map_err(|error| Problem::internal(&error))?;
    let tag = format!("\"{}\"", hex::encode(&Sha256::digest(svg.as_bytes())[..8]));
    let is_public = visibility == Visibility::Public;
    // Those who show pictures from elsewhere keep them: a minute at most, so that a badge is true.
    let caching = if is_public {
        "public, max-age=60"
    } else {
        "private, no-cache"
    };
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "image/svg+xml; charset=utf-8")], svg).into_response(),
    };
    let set = response.headers_mut();
    set.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        set.insert(header::ETAG, tag);
    }
    if is_public {
        let policy = HeaderName::from_static("cross-origin-resource-policy");
        set.insert(policy, HeaderValue::from_static("cross-origin"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_escapes_and_cuts_its_label() {
        let picture = Picture::of_builds(&"<&\"".repeat(50), Some(Status::Failed));
        assert_eq!(picture.label.chars().count(), LONGEST_LABEL + 1);
        let svg = picture.render().unwrap();
        assert!(!svg.contains("<&") && svg.contains("failed"), "{svg}");
    }

    #[test]
    fn every_state_has_its_word() {
        let word = |status| Picture::of_builds("build", status).message;
        assert_eq!(word(Some(Status::Succeeded)), "succeeded");
        assert_eq!(word(Some(Status::Failed)), "failed");
        assert_eq!(word(Some(Status::Running)), "running");
        assert_eq!(word(None), "unknown");
    }

    #[test]
    fn how_long_it_is_behind_is_said_in_the_largest_whole_unit() {
        let said = |minutes: i64| behind(Some(TimeDelta::minutes(minutes)));
        assert_eq!(said(5), "behind");
        assert_eq!(said(60), "behind 1 hour");
        assert_eq!(said(60 * 23), "behind 23 hours");
        assert_eq!(said(60 * 24), "behind 1 day");
        assert_eq!(said(60 * 24 * 3), "behind 3 days");
        assert_eq!(behind(None), "behind");
    }

    #[test]
    fn wide_letters_take_more_room_than_narrow_ones() {
        assert!(width("mmm") > width("aaa") && width("aaa") > width("iii"));
        assert_eq!(width(""), 0);
    }
}
