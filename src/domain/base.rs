//! The images that a build stood on, as its steps tell of them.

use std::collections::BTreeMap;

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
}
