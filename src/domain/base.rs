//! The graph of repositories that stand on each other's images.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    build::{BaseImage, Step},
    image::ImageReference,
};

/// The images that a build stood on, as far as its steps name them: both builders name the image of every `FROM`, and
/// BuildKit the digest that it resolved.
pub fn images_of_steps(steps: &[Step]) -> Vec<BaseImage> {
    let mut images = BTreeMap::new();
    for image in steps.iter().filter_map(|step| image_of_step(&step.name)) {
        let known: &mut Option<String> = images.entry(image.name).or_default();
        *known = image.digest.or(known.take());
    }
    images
        .into_iter()
        .map(|(name, digest)| BaseImage {
            name,
            digest,
            pinned: false,
        })
        .collect()
}

/// `[1/3] FROM docker.io/library/alpine:3.20@sha256:...`, `Step 1/3 : FROM alpine:3.20 AS base`.
fn image_of_step(name: &str) -> Option<BaseImage> {
    let (_, after) = name.split_once("FROM ")?;
    let image = after.split_whitespace().find(|word| !word.starts_with("--"))?;
    if image == "scratch" {
        return None;
    }
    let reference = ImageReference::parse(image).ok()?;
    let digest = reference.digest.clone();
    let named = match reference.tag {
        Some(_) => ImageReference {
            digest: None,
            ..reference
        },
        None => reference,
    };
    Some(BaseImage {
        name: named.to_string(),
        digest,
        pinned: false,
    })
}

/// Finds a circle through `start` in a graph of image names (`image -> the images it stands on`).
///
/// Returns the images on the circle in order, `start` first and last, or `None` where there is none.
pub fn circle_through(start: &str, stands_on: &HashMap<String, Vec<String>>) -> Option<Vec<String>> {
    let mut path = vec![start.to_owned()];
    let mut seen = HashSet::new();
    search(start, start, stands_on, &mut seen, &mut path).then_some(path)
}

fn search(
    at: &str,
    goal: &str,
    stands_on: &HashMap<String, Vec<String>>,
    seen: &mut HashSet<String>,
    path: &mut Vec<String>,
) -> bool {
    for next in stands_on.get(at).into_iter().flatten() {
        path.push(next.clone());
        if next == goal || (seen.insert(next.clone()) && search(next, goal, stands_on, seen, path)) {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_name_the_images_that_a_build_stood_on() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let step = |name: &str| Step {
            name: name.to_owned(),
            started_at: None,
            finished_at: None,
            cached: false,
            error: None,
        };
        let steps = [
            step(&format!("[1/3] FROM docker.io/library/alpine:3.20@{digest}")),
            step("[build 1/2] FROM 127.0.0.1:5000/base:latest"),
            step("Step 1/3 : FROM --platform=linux/amd64 alpine:3.20 AS x"),
            step("Step 2/3 : FROM scratch"),
            step("[2/3] RUN make FROM=x"),
        ];
        let found = images_of_steps(&steps);
        let expected = [
            ("127.0.0.1:5000/base:latest", None),
            ("docker.io/library/alpine:3.20", Some(digest.as_str())),
        ];
        let found: Vec<_> = found
            .iter()
            .map(|image| (image.name.as_str(), image.digest.as_deref()))
            .collect();
        assert_eq!(found, expected);
    }

    fn graph(edges: &[(&str, &[&str])]) -> HashMap<String, Vec<String>> {
        edges
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.iter().map(|s| (*s).to_owned()).collect()))
            .collect()
    }

    #[test]
    fn a_circle_is_named_from_its_start() {
        let graph = graph(&[("a", &["x", "b"]), ("b", &["c"]), ("c", &["a"]), ("x", &[])]);
        assert_eq!(circle_through("a", &graph).unwrap(), ["a", "b", "c", "a"]);
    }

    #[test]
    fn an_image_on_itself_is_a_circle() {
        assert_eq!(circle_through("a", &graph(&[("a", &["a"])])).unwrap(), ["a", "a"]);
    }

    #[test]
    fn a_diamond_and_a_circle_elsewhere_are_none() {
        let graph = graph(&[
            ("a", &["b", "c"]),
            ("b", &["d"]),
            ("c", &["d"]),
            ("d", &["e"]),
            ("e", &["d"]),
        ]);
        assert_eq!(circle_through("a", &graph), None);
    }
}
