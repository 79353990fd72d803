//! The files that pages are made with, embedded in the program. Their address changes with their content, so browsers keep
//! them for good.

use std::sync::LazyLock;

use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;
use sha2::{Digest, Sha256};

use super::{Web, parameters::Query, problem::Problem};

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file of `static/`.
macro_rules! file {
    ($name:literal, $media_type:expr) => {
        ($name, $media_type, include_str!(concat!("static/", $name)))
    };
}

/// Name, media type and content of each.
const FILES: &[(&str, &str, &str)] = &[
    ("app.css", "text/css; charset=utf-8", include_str!("static/app.css")),
    (
        "app.js",
        "text/javascript; charset=utf-8",
        include_str!("static/app.js"),
    ),
    (
        "live.js",
        "text/javascript; charset=utf-8",
        include_str!("static/live.js"),
    ),
    (
        "repository_form.js",
        "text/javascript; charset=utf-8",
        include_str!("static/repository_form.js"),
    ),
    // For plain git servers.
    (
        "post-receive",
        "text/plain; charset=utf-8",
        include_str!("../../examples/post-receive"),
    ),
    ("icons.svg", "image/svg+xml", include_str!("static/icons.svg")),
    ("mark.svg", "image/svg+xml", include_str!("static/mark.svg")),
    file!("app.css", CSS),
    file!("app.js", SCRIPT),
    file!("filter.js", SCRIPT),
    file!("icons.svg", SVG),
    file!("live.js", SCRIPT),
    file!("log.css", CSS),
    file!("log.js", SCRIPT),
    file!("mark.svg", SVG),
];

/// One year, and never to be asked for again.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// One version for all of them: scripts import each other by relative addresses.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, content) in FILES {
        hash.update(name);
        hash.update(content);
    }
    hex::encode(&hash.finalize()[..6])
});

/// The address of a file.
pub fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *VERSION)
}

pub(super) fn routes() -> Router<Web> {
    Router::new().route("/assets/{version}/{name}", get(read))
}

async fn read(Path((version, name)): Path<(String, String)>, Query(()): Query<()>) -> Result<Response, Problem> {
    let file = FILES.iter().find(|(known, ..)| *known == name);
    match file {
        // A page of another version asks for what is not here any more: a newer file under its address would be kept for good.
        Some((_, media_type, content)) if version == *VERSION => Ok((
            [(header::CONTENT_TYPE, *media_type), (header::CACHE_CONTROL, FOR_GOOD)],
            *content,
        )
            .into_response()),
        _ => Err(Problem::not_found("file")),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_directory_is_served() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/static");
        let there: BTreeSet<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let missing: Vec<&String> = there.difference(&served).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
