//! Where a rule's Dockerfile and build context are in the repository.
//!
//! The Dockerfile's location is relative to the build context, the context to the repository's root. A location that
//! is a directory means the `Dockerfile` in it; a blank context is the Dockerfile's directory.

/// Paths inside the repository, without leading, trailing or doubled slashes; the root is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub context: String,
    pub dockerfile: String,
}

/// Why a location cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    #[error("the {what} `{path}` leaves the repository")]
    Outside { what: &'static str, path: String },
    #[error("the {what} holds a NUL character")]
    Nul { what: &'static str },
}

/// Resolves a rule's two fields against a tree, of which `is_directory` tells what is a directory.
pub fn resolve(
    dockerfile: &str,
    context: &str,
    is_directory: impl Fn(&str) -> bool,
) -> Result<Location, InvalidLocation> {
    let blank = context.is_empty();
    let context = normalise("build context", "", context)?;
    let file = normalise("Dockerfile location", &context, dockerfile)?;
    let names_directory = file.is_empty() || dockerfile.ends_with('/') || is_directory(&file);
    let dockerfile = match (names_directory, file.is_empty()) {
        (true, true) => "Dockerfile".to_owned(),
        (true, false) => format!("{file}/Dockerfile"),
        (false, _) => file,
    };
    let context = match blank {
        true => dockerfile
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory)
            .to_owned(),
        false => context,
    };
    Ok(Location { context, dockerfile })
}

/// Joins and resolves `.` and `..` by text; a leading slash means the base.
fn normalise(what: &'static str, base: &str, path: &str) -> Result<String, InvalidLocation> {
    if path.contains('\0') {
        return Err(InvalidLocation::Nul { what });
    }
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| InvalidLocation::Outside {
                    what,
                    path: path.to_owned(),
                })?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dockerfile: &str, context: &str, expected: (&str, &str)) {
        let directories = ["app", "app/docker"];
        let found = resolve(dockerfile, context, |path| directories.contains(&path)).unwrap();
        assert_eq!(
            (found.dockerfile.as_str(), found.context.as_str()),
            expected,
            "{dockerfile:?} in {context:?}"
        );
    }

    #[test]
    fn the_dockerfile_is_relative_to_the_context() {
        check("Dockerfile", "/", ("Dockerfile", ""));
        check("Dockerfile", "app", ("app/Dockerfile", "app"));
        check("/Dockerfile", "/app/", ("app/Dockerfile", "app"));
        check("docker/web.Dockerfile", "app", ("app/docker/web.Dockerfile", "app"));
        check("../Dockerfile", "app", ("Dockerfile", "app"));
        check("./x/../Dockerfile", ".", ("Dockerfile", ""));
    }

    #[test]
    fn a_directory_means_the_dockerfile_in_it() {
        check("/", "/", ("Dockerfile", ""));
        check("", "/", ("Dockerfile", ""));
        check("app", "/", ("app/Dockerfile", ""));
        check("docker", "app", ("app/docker/Dockerfile", "app"));
        check("new/", "/", ("new/Dockerfile", ""));
    }

    #[test]
    fn a_blank_context_is_the_dockerfiles_directory() {
        check("Dockerfile", "", ("Dockerfile", ""));
        check("app", "", ("app/Dockerfile", "app"));
        check(
            "app/docker/web.Dockerfile",
            "",
            ("app/docker/web.Dockerfile", "app/docker"),
        );
        check("/", "", ("Dockerfile", ""));
    }

    #[test]
    fn nothing_leaves_the_repository() {
        let refused = |dockerfile: &str, context: &str| resolve(dockerfile, context, |_| false).is_err();
        assert!(refused("../..", "/"));
        assert!(refused("../../Dockerfile", "app"));
        assert!(refused("Dockerfile", ".."));
        assert!(refused("Dockerfile", "app/../.."));
        assert!(refused("a\0b", "/"));
        assert!(refused("Dockerfile", "a\0b"));
    }
}
