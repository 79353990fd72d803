//! Image names, as the Docker command line reads them.
//!
//! Grammar: the distribution project's `reference` package; defaults: Docker's normalisation (`docker.io`, `library/`,
//! `latest`).

use std::fmt;

/// The registry meant when a name has none.
pub const DOCKER_HUB: &str = "docker.io";

/// Longest image name without tag and digest, in bytes.
const MAX_NAME: usize = 255;

/// A fully named image: `registry/path:tag` or `registry/path@digest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// Host, with port where one was given: `docker.io`, `127.0.0.1:5000`.
    pub registry: String,
    /// `library/alpine`, `team/app`.
    pub path: String,
    /// `None` only where a digest was given without a tag.
    pub tag: Option<String>,
    /// `sha256:` and 64 hexadecimal digits. Where there is a tag too, the digest wins.
    pub digest: Option<String>,
}

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not an image name: {reason}")]
pub struct InvalidReference {
    pub name: String,
    pub reason: &'static str,
}

impl ImageReference {
    /// Parses and completes a name: `alpine` becomes `docker.io/library/alpine:latest`.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        parse(text).map_err(|reason| InvalidReference {
            name: text.to_owned(),
            reason,
        })
    }

    /// `registry/path`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// As short as people write it: `alpine:3.20`, `team/app:latest`, `registry.example.com/app:1`.
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        let on_hub = whole.strip_prefix("docker.io/").unwrap_or(&whole);
        on_hub.strip_prefix("library/").unwrap_or(on_hub).to_owned()
    }

    /// The same image under another tag, no digest.
    pub fn with_tag(&self, tag: &str) -> Self {
        Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether a first path component is a registry's host, by Docker's own test.
pub fn is_registry_host(component: &str) -> bool {
    component == "localhost" || component.contains(['.', ':']) || component.bytes().any(|c| c.is_ascii_uppercase())
}

/// Whether a text names a registry in the image itself (`registry.example.com/app`), not by default.
pub fn names_registry(text: &str) -> bool {
    text.split_once('/').is_some_and(|(first, _)| is_registry_host(first))
}

/// Checks a registry's host, as images name it: a host name or address, with an optional port.
pub fn is_valid_registry_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest {
                "" => return true,
                rest => match rest.strip_prefix(':') {
                    Some(port) => return is_port(port),
                    None => return false,
                },
            }
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    port.is_none_or(is_port)
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0) && text.bytes().all(|c| c.is_ascii_digit())
}

/// Whether a text can be a tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
pub fn is_valid_tag(tag: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    let bytes = tag.as_bytes();
    bytes.len() <= 128
        && bytes.first().is_some_and(|&c| word(c))
        && bytes.iter().all(|&c| word(c) || matches!(c, b'.' | b'-'))
}

/// Whether a text can be what follows the registry in an image's name, before the tag: `library/alpine`, `team/app`.
pub fn is_valid_path(path: &str) -> bool {
    path.len() <= MAX_NAME && path.split('/').all(is_path_component)
}

/// Whether a text is a SHA-256 digest as registries write it.
pub fn is_valid_digest(digest: &str) -> bool {
    digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c)))
}

fn parse(text: &str) -> Result<ImageReference, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) if is_valid_digest(digest) => (rest, Some(digest.to_owned())),
        Some(_) => return Err("what follows `@` is not a sha256 digest"),
        None => (text, None),
    };
    // A colon after the last slash separates the tag; one before it belongs to the host's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !is_valid_tag(tag)) {
        return Err("what follows `:` cannot be a tag");
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, path)) if is_registry_host(first) => (first, path.to_owned()),
        Some(_) => (DOCKER_HUB, name.to_owned()),
        None => (DOCKER_HUB, format!("library/{name}")),
    };
    let registry = if registry == "index.docker.io" {
        DOCKER_HUB
    } else {
        registry
    };
    let path = if registry == DOCKER_HUB && !path.contains('/') {
        format!("library/{path}")
    } else {
        path
    };
    if !is_valid_registry_host(registry) {
        return Err("its registry is not a host");
    }
    if registry.len() + 1 + path.len() > MAX_NAME {
        return Err("it is longer than 255 characters");
    }
    if !is_valid_path(&path) {
        return Err(
            "its path may hold lower case letters, digits, and single separators `.`, `_`, `__` or `-` between them",
        );
    }
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some("latest".to_owned()),
    };
    Ok(ImageReference {
        registry: registry.to_owned(),
        path,
        tag,
        digest,
    })
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !component.is_empty()
        && component.starts_with(alphanumeric)
        && component.ends_with(alphanumeric)
        && component
            .split(alphanumeric)
            .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|c| c == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does() {
        let check = |input: &str, expected: &str| {
            assert_eq!(
                ImageReference::parse(input).map(|r| r.to_string()).as_deref(),
                Ok(expected),
                "{input}"
            );
        };
        check("alpine", "docker.io/library/alpine:latest");
        check("alpine:3.20", "docker.io/library/alpine:3.20");
        check("team/app", "docker.io/team/app:latest");
        check("docker.io/alpine", "docker.io/library/alpine:latest");
        check("index.docker.io/team/app:1", "docker.io/team/app:1");
        check("localhost/app", "localhost/app:latest");
        check("localhost:5000/app", "localhost:5000/app:latest");
        check("127.0.0.1:5000/team/app:v1", "127.0.0.1:5000/team/app:v1");
        check("[::1]:5000/app", "[::1]:5000/app:latest");
        check("ghcr.io/a/b/c__d:x", "ghcr.io/a/b/c__d:x");
        check("Registry/app", "Registry/app:latest");
        check(
            &format!("alpine@{DIGEST}"),
            &format!("docker.io/library/alpine@{DIGEST}"),
        );
        check(
            &format!("alpine:3@{DIGEST}"),
            &format!("docker.io/library/alpine:3@{DIGEST}"),
        );
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for bad in [
            "",
            ":",
            "a:",
            "a:b:c",
            "Alpine",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a..b",
            "a___b",
            "a@sha256:00",
            "a b",
            "a:-x",
            "host:port/app",
            "host:0/app",
            "host:70000/app",
            "..com/x",
            "a\0",
            "a.b_/c",
        ] {
            assert!(ImageReference::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ImageReference::parse(&"a".repeat(300)).is_err());
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["latest", "_x", "1.0-rc.1", &"a".repeat(128)] {
            assert!(is_valid_tag(good), "{good}");
        }
        for bad in ["", ".x", "-x", "a/b", "a b", "a+b", "ä", &"a".repeat(129)] {
            assert!(!is_valid_tag(bad), "{bad}");
        }
    }

    #[test]
    fn paths_follow_the_grammar() {
        for good in ["alpine", "library/alpine", "a/b/c__d", "a-b/c.d"] {
            assert!(is_valid_path(good), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "A",
            "a//b",
            "a:b",
            "a@b",
            "../a",
            "a b",
            "ä",
            &"a".repeat(256),
        ] {
            assert!(!is_valid_path(bad), "{bad}");
        }
    }

    #[test]
    fn only_a_written_host_names_a_registry() {
        assert!(names_registry("localhost/app"));
        assert!(names_registry("r.example.com/app"));
        assert!(!names_registry("team/app"));
        assert!(!names_registry("app"));
    }
}
