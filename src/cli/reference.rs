//! What arguments name: repositories and builds.

use crate::domain::repository::RepositoryName;

/// `NS/NAME`, as an argument.
pub fn parse_repository(text: &str) -> Result<RepositoryName, String> {
    RepositoryName::parse(text).map_err(|error| match text.contains('/') {
        true => error.to_string(),
        false => format!("`{text}` is not a repository: it is NAMESPACE/NAME, such as team/app"),
    })
}

/// A build's id, as an argument. Ids are opaque; what could change the meaning of an address is none.
pub fn parse_build_id(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.len() <= 64 && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        true => Ok(text.to_owned()),
        false => Err("it is a build's id, as `hullworks builds` lists it".to_owned()),
    }
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
    fn a_build_id_cannot_name_another_address() {
        assert!(parse_build_id("0198c0ffee").is_ok());
        for wrong in ["", "..", "a/b", "a?b", "a#b", "a b", "%2e"] {
            assert!(parse_build_id(wrong).is_err(), "{wrong}");
        }
    }
}
