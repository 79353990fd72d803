//! Which program reads a Dockerfile: `# syntax=` names an image that the engine pulls and runs with the build's
//! secrets in reach, so only listed ones are let through.
//!
//! The directive is looked for in every form that any version of BuildKit knows, whatever the engine at hand: a form
//! that is missed here would be a frontend that nobody checked.

use std::collections::BTreeMap;

use super::error::{EngineError, clip};
use crate::domain::image::ImageReference;

/// Build argument by which a frontend can be chosen from outside of the Dockerfile.
const SYNTAX_ARGUMENT: &str = "BUILDKIT_SYNTAX";

/// BuildKit reads lines up to this length, in bytes, and ends its search for directives at a longer one.
const MAX_LINE: usize = 64 << 10;

/// The frontends that are trusted unless configured otherwise: Docker's own.
pub const DEFAULT_FRONTENDS: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// Refuses a Dockerfile or build argument that names a frontend which is not in `allowed` (image names without tags).
pub(super) fn check(
    dockerfile: &[u8],
    build_args: &BTreeMap<String, String>,
    allowed: &[String],
) -> Result<(), EngineError> {
    let named = directives(dockerfile)
        .into_iter()
        .chain(build_args.get(SYNTAX_ARGUMENT).cloned());
    for value in named {
        // What follows the image's name are arguments to the frontend.
        let image = value.split_whitespace().next().unwrap_or_default();
        let name = ImageReference::parse(image).map(|reference| reference.name()).ok();
        let is_allowed = allowed
            .iter()
            .filter_map(|allowed| ImageReference::parse(allowed).ok())
            .any(|allowed| Some(allowed.name()) == name);
        if !is_allowed {
            return Err(EngineError::Dockerfile(format!(
                "the Dockerfile asks for the frontend `{}`, which is not allowed here",
                clip(image)
            )));
        }
    }
    Ok(())
}

/// Every value that some version of BuildKit takes for the file's `syntax` directive.
fn directives(dockerfile: &[u8]) -> Vec<String> {
    let text = dockerfile.strip_prefix(b"\xef\xbb\xbf").unwrap_or(dockerfile);
    let mut found = comment_directives(text, b"#");
    // A first line for the kernel is skipped by the newer versions.
    if text.starts_with(b"#!") {
        let rest = text
            .iter()
            .position(|&c| c == b'\n')
            .map_or(&[][..], |end| &text[end + 1..]);
        found.extend(comment_directives(rest, b"#"));
        found.extend(comment_directives(rest, b"//"));
    }
    found.extend(comment_directives(text, b"//"));
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_slice(text) {
        found.extend(object.get("syntax").and_then(|value| value.as_str()).map(str::to_owned));
    }
    found
}

/// The `syntax` lines among the directives at the top: `key = value` behind the comment's mark, up to the first line
/// that is none.
fn comment_directives(text: &[u8], mark: &[u8]) -> Vec<String> {
    text.split(|&c| c == b'\n')
        .map_while(|line| {
            let line = line.get(..MAX_LINE.min(line.len()))?.trim_ascii();
            let line = String::from_utf8_lossy(line.strip_prefix(mark)?).trim().to_owned();
            let (key, value) = line.split_once('=')?;
            let key = key.trim();
            let is_key =
                key.starts_with(|c: char| c.is_ascii_alphabetic()) && key.chars().all(|c| c.is_ascii_alphanumeric());
            is_key.then(|| (key.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .filter(|(key, value)| key == "syntax" && !value.is_empty())
        .map(|(_, value)| value)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_file(dockerfile: &str) -> Result<(), EngineError> {
        let allowed: Vec<String> = DEFAULT_FRONTENDS.iter().map(|s| (*s).to_owned()).collect();
        check(dockerfile.as_bytes(), &BTreeMap::new(), &allowed)
    }

    #[test]
    fn dockers_own_frontends_pass_in_any_version() {
        for good in [
            "FROM scratch",
            "# syntax=docker/dockerfile:1\nFROM scratch",
            "# syntax=docker.io/docker/dockerfile:1.7-labs\r\nFROM scratch",
            "#syntax = docker/dockerfile-upstream:master --x\nFROM scratch",
            "# a comment\n# syntax=evil/frontend\nFROM scratch",
            "\n# syntax=evil/frontend\nFROM scratch",
            "FROM scratch\n# syntax=evil/frontend",
            "{\"syntax\": \"docker/dockerfile\"}",
        ] {
            assert_eq!(check_file(good), Ok(()), "{good:?}");
        }
    }

    #[test]
    fn every_other_frontend_is_refused_by_name_in_every_form() {
        for bad in [
            "# syntax=evil/frontend\nFROM scratch",
            "# SyNtAx = evil/frontend:1 arguments\nFROM scratch",
            "\u{feff}#syntax=evil/frontend\nFROM scratch",
            "# escape=`\n# syntax=evil/frontend\r\nFROM scratch",
            "# syntax=docker/dockerfile:1\n# syntax=evil/frontend\nFROM scratch",
            "#!/usr/bin/env x\n# syntax=evil/frontend\nFROM scratch",
            "// syntax=evil/frontend\n{}",
            "#!/x\n//syntax=evil/frontend\n{}",
            "{\"syntax\": \"evil/frontend\"}",
            "\t# syntax=evil/frontend",
            "# syntax=evil/frontend",
        ] {
            let error = check_file(bad).unwrap_err();
            assert!(error.to_string().contains("`evil/frontend"), "{bad:?}: {error}");
        }
        for bad in [
            "# syntax=evil.example.com/docker/dockerfile\n",
            "# syntax=${X}\n",
            "# syntax=docker/dockerfile/x\n",
        ] {
            assert!(check_file(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_frontend_named_by_build_argument_is_checked_alike() {
        let args = |value: &str| BTreeMap::from([(SYNTAX_ARGUMENT.to_owned(), value.to_owned())]);
        let allowed = ["docker/dockerfile".to_owned()];
        assert!(check(b"FROM scratch", &args("docker/dockerfile:1"), &allowed).is_ok());
        assert!(check(b"FROM scratch", &args("evil/frontend"), &allowed).is_err());
        assert!(check(b"FROM scratch", &args(""), &allowed).is_err());
    }
}
