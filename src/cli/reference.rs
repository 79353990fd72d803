//! What arguments name: repositories, builds, waves and images.

use crate::domain::{image::ImageReference, repository::RepositoryName};

/// `NS/NAME`, as an argument.
pub fn parse_repository(text: &str) -> Result<RepositoryName, String> {
    RepositoryName::parse(text).map_err(|error| match text.contains('/') {
        true => error.to_string(),
        false => format!("`{text}` is not a repository: it is NAMESPACE/NAME, such as team/app"),
    })
}

/// A build's id, as an argument. Ids are opaque; what could change the meaning of an address is none.
pub fn parse_build_id(text: &str) -> Result<String, String> {
    match is_id(text) {
        true => Ok(text.to_owned()),
        false => Err("it is a build's id, as `hullworks builds` lists it".to_owned()),
    }
}

/// The same for a wave's id.
pub fn parse_wave_id(text: &str) -> Result<String, String> {
    match is_id(text) {
        true => Ok(text.to_owned()),
        false => Err("it is a wave's id, as `hullworks waves` lists it".to_owned()),
    }
}

/// An image's name, as an argument: in full, or as people write it.
pub fn parse_image(text: &str) -> Result<String, String> {
    ImageReference::parse(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_namespace_and_a_name() {
        assert_eq!(parse_repository("team/app").unwrap().to_string(), "team/app");
        for wrong in [
            "",
            "app",
            "team/",
            "/app",
            "team/app/x",
            "Team/app",
            "team/..",
            "../app",
            "team/a?b",
        ] {
            assert!(parse_repository(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_image_is_named_as_people_write_it() {
        assert_eq!(parse_image("alpine:3.20").unwrap(), "alpine:3.20");
        assert!(parse_image("r.example.com:5000/team/app:1").is_ok());
        for wrong in ["", "Alpine", "a b", "../x"] {
            assert!(parse_image(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_cannot_name_another_address() {
        assert!(parse_build_id("0198c0ffee").is_ok() && parse_wave_id("0198c0ffee").is_ok());
        for wrong in ["", "..", "a/b", "a?b", "a#b", "a b", "%2e"] {
            assert!(
                parse_build_id(wrong).is_err() && parse_wave_id(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
