//! Writes digests into a Dockerfile, so that a build stands on exactly the images that are meant.

use std::collections::BTreeMap;

use super::Used;

/// A Dockerfile with digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    pub dockerfile: Vec<u8>,
    /// What was pinned: full names with tags, and their digests.
    pub images: BTreeMap<String, String>,
    /// What has a digest that could not be written in, and why. The build takes what its tag names.
    pub left: BTreeMap<String, &'static str>,
}

/// Puts `name:tag@digest` in the place of each image whose full name with tag (`docker.io/library/alpine:3.20`) is in
/// `digests`. Images that have a digest already stay as they are. `used` is what [`super::images`] found in `dockerfile`.
pub fn pin(dockerfile: &[u8], used: &Used, digests: &BTreeMap<String, String>) -> Pinned {
    let mut pinned = Pinned {
        dockerfile: Vec::with_capacity(dockerfile.len()),
        images: BTreeMap::new(),
        left: BTreeMap::new(),
    };
    let mut words = Vec::new();
    for image in used.images.iter().filter(|image| image.reference.digest.is_none()) {
        let name = image.reference.to_string();
        let Some(digest) = digests.get(&name) else { continue };
        match &image.span {
            Some(span) => {
                words.push((span.clone(), format!("{name}@{digest}")));
                pinned.images.insert(name, digest.clone());
            }
            None => drop(pinned.left.insert(name, "it is quoted in parts")),
        }
    }
    words.sort_by_key(|(span, _)| span.start);
    let mut done = 0;
    for (span, word) in words {
        if span.start >= done
            && let Some(between) = dockerfile.get(done..span.start)
        {
            pinned.dockerfile.extend_from_slice(between);
            pinned.dockerfile.extend_from_slice(word.as_bytes());
            done = span.end;
        }
    }
    pinned
        .dockerfile
        .extend_from_slice(dockerfile.get(done..).unwrap_or_default());
    pinned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dockerfile::{Arguments, images};

    fn digest(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    fn pinned(dockerfile: &str) -> Pinned {
        let build_args = BTreeMap::new();
        let arguments = Arguments {
            build_args: &build_args,
            build_platform: "linux/amd64",
            target_platform: "linux/amd64",
            target: None,
            every_stage: false,
        };
        let digests = [
            ("docker.io/library/alpine:3.20", digest("a")),
            ("r.example/tools:latest", digest("b")),
            ("docker.io/docker/dockerfile:1", digest("c")),
        ];
        let digests = digests.map(|(name, digest)| (name.to_owned(), digest)).into();
        pin(
            dockerfile.as_bytes(),
            &images(dockerfile.as_bytes(), &arguments),
            &digests,
        )
    }

    #[test]
    fn every_word_that_names_an_image_of_the_map_gets_its_digest_and_nothing_else_changes() {
        let found = pinned(
            "\u{feff}# syntax=docker/dockerfile:1 --x\r\nARG V=3.20\r\nARG NAME=alpine:${V}\r\nFROM --platform=$BUILDPLATFORM \
             \"${NAME}\" AS a\r\nCOPY --from=\"r.example/tools\" --chown=1 /x /y\r\n# FROM alpine:3.20\r\nFROM alpine:3.2\\\r\n0 AS \
             b\r\nRUN --mount=type=bind,from=r.example/tools,target=/t <<EOF\r\nFROM alpine:3.20\r\nEOF\r\nFROM alpine:3.21\r\nFROM a\r\n",
        );
        let (a, b, c) = (digest("a"), digest("b"), digest("c"));
        let expected = format!(
            "\u{feff}# syntax=docker.io/docker/dockerfile:1@{c} --x\r\nARG V=3.20\r\nARG NAME=alpine:${{V}}\r\nFROM \
             --platform=$BUILDPLATFORM docker.io/library/alpine:3.20@{a} AS a\r\nCOPY --from=\"r.example/tools:latest@{b}\" \
             --chown=1 /x /y\r\n# FROM alpine:3.20\r\nFROM docker.io/library/alpine:3.20@{a} AS b\r\nRUN \
             --mount=type=bind,from=r.example/tools:latest@{b},target=/t <<EOF\r\nFROM alpine:3.20\r\nEOF\r\nFROM \
             alpine:3.21\r\nFROM a\r\n"
        );
        assert_eq!(String::from_utf8(found.dockerfile).unwrap(), expected);
        assert_eq!(found.images.len(), 3);
        assert!(found.left.is_empty());
    }

    #[test]
    fn a_word_that_has_a_digest_stays_and_one_that_cannot_be_replaced_is_told() {
        let digest = digest("d");
        let text = format!("FROM alpine:3.20@{digest}\nCOPY --from=r.example/\"tools\" / /\n");
        let found = pinned(&text);
        assert_eq!(String::from_utf8(found.dockerfile).unwrap(), text);
        assert!(found.images.is_empty());
        assert_eq!(found.left.keys().collect::<Vec<_>>(), ["r.example/tools:latest"]);
    }
}
