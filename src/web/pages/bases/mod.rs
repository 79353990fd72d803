//! Base images: what is watched, who stands on whom, what is outdated, and the waves of rebuilds that follow from a move.

mod graph;
mod image;
mod images;
mod outdated;
pub mod picture;
mod wave;
mod waves;

use axum::Router;
use chrono::{DateTime, Utc};
use url::form_urlencoded::byte_serialize;

use super::words::When;
use crate::{domain::rule::SourceType, web::Web};

pub(super) fn routes() -> Router<Web> {
    Router::new()
        .merge(graph::routes())
        .merge(image::routes())
        .merge(images::routes())
        .merge(outdated::routes())
        .merge(wave::routes())
        .merge(waves::routes())
}

/// The pages that the tabs lead to, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Images,
    Graph,
    Outdated,
    Waves,
}

/// One tab, for the template `bases/head.html`.
struct TabLink {
    href: &'static str,
    label: &'static str,
    is_current: bool,
}

fn tabs(current: Tab) -> [TabLink; 4] {
    [
        (Tab::Images, "/bases", "Images"),
        (Tab::Graph, "/bases/graph", "Graph"),
        (Tab::Outdated, "/bases/outdated", "Outdated"),
        (Tab::Waves, "/waves", "Waves"),
    ]
    .map(|(tab, href, label)| TabLink {
        href,
        label,
        is_current: tab == current,
    })
}

/// How something stands to the present version of what it is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    Current,
    /// There is a newer version, since then as far as that is known.
    Behind(Option<When>),
    /// Nobody knows what the present version is.
    Unknown,
}

impl Freshness {
    pub fn new(is_outdated: bool, behind_since: Option<DateTime<Utc>>, is_seen: bool, now: DateTime<Utc>) -> Self {
        match (is_outdated, is_seen) {
            (true, _) => Self::Behind(behind_since.map(|since| When::new(since, now))),
            (false, true) => Self::Current,
            (false, false) => Self::Unknown,
        }
    }
}

/// The address of an image's page; `name` is its full or familiar one.
pub fn image_path(name: &str) -> String {
    format!(
        "/bases/image?name={}",
        byte_serialize(name.as_bytes()).collect::<String>()
    )
}

/// The bare tags of images that are fully named.
pub fn tags_of(images: &[String]) -> Vec<String> {
    let tags = images
        .iter()
        .filter_map(|image| Some(image.rsplit_once(':')?.1.to_owned()));
    tags.collect()
}

/// `branch main`
pub fn source_in_words(kind: SourceType, name: &str) -> String {
    format!("{} {name}", kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_an_address_whatever_its_name() {
        assert_eq!(
            image_path("r.example.com/a/b:1&x"),
            "/bases/image?name=r.example.com%2Fa%2Fb%3A1%26x"
        );
    }

    #[test]
    fn tags_are_what_stands_behind_the_last_colon() {
        let images = ["r.example.com:5000/team/app:1.2".to_owned()];
        assert_eq!(tags_of(&images), ["1.2"]);
    }
}
