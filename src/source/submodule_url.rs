//! Where a submodule is: from what `.gitmodules` says to an address that passed the gate.

use url::Position;

use crate::domain::source_url::{RefusedUrl, SourcePolicy, SourceUrl};

/// Of an address that is shown though nobody checked it.
const MAX_SHOWN: usize = 200;

/// Why a submodule is not fetched from where `.gitmodules` says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadUrl {
    #[error(transparent)]
    Refused(#[from] RefusedUrl),
    #[error("it leads above the root of the server that the repository is on")]
    AboveRoot,
    #[error("it is on this machine, but the repository that names it is not")]
    Local,
}

/// An address, and whether it is another one than was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub url: SourceUrl,
    pub rewritten: bool,
}

/// Resolves an address of a `.gitmodules` in the repository at `parent`.
///
/// `./` and `../` go along the parent's path, as in git-submodule(1), but never to another host. Addresses for SSH, and
/// such with a user name, lead to the same place over https, as nobody signs in by key here.
pub(super) fn resolve(written: &str, parent: &SourceUrl, policy: SourcePolicy) -> Result<Resolved, BadUrl> {
    if written.starts_with("./") || written.starts_with("../") {
        let url = SourceUrl::parse(&relative(written, parent)?, policy)?;
        return Ok(Resolved { url, rewritten: false });
    }
    let (url, rewritten) = match SourceUrl::parse(written, policy) {
        Ok(url) => (url, false),
        Err(refused) => {
            let other = over_https(written).and_then(|other| SourceUrl::parse(&other, policy).ok());
            (other.ok_or(refused)?, true)
        }
    };
    // Whoever may push to a repository elsewhere is not thereby allowed to read those on this machine.
    if url.as_url().scheme() == "file" && parent.as_url().scheme() != "file" {
        return Err(BadUrl::Local);
    }
    Ok(Resolved { url, rewritten })
}

fn relative(written: &str, parent: &SourceUrl) -> Result<String, BadUrl> {
    let parent = parent.as_url();
    let mut parts: Vec<&str> = parent.path().trim_matches('/').split('/').collect();
    let mut rest = written;
    loop {
        if let Some(after) = rest.strip_prefix("../") {
            parts.pop().ok_or(BadUrl::AboveRoot)?;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else {
            break;
        }
    }
    parts.push(rest.strip_suffix('/').unwrap_or(rest));
    Ok(format!("{}/{}", &parent[..Position::BeforePath], parts.join("/")))
}

/// `git@host:path`, `ssh://git@host:22/path` and `https://user@host/path` as `https://host/path`.
fn over_https(written: &str) -> Option<String> {
    let (authority, path) = if let Some(rest) = written.strip_prefix("ssh://") {
        rest.split_once('/')?
    } else if let Some(rest) = written.strip_prefix("https://") {
        let (authority, path) = rest.split_once('/')?;
        let (user, host) = authority.split_once('@')?;
        return is_plain(user, "._-+").then(|| format!("https://{host}/{path}"));
    } else if written.contains("://") {
        return None;
    } else {
        let (authority, path) = written.split_once(':')?;
        authority.split_once('@')?;
        (authority, path)
    };
    let (user, place) = authority.split_once('@').unwrap_or(("git", authority));
    let host = place.split_once(':').map_or(place, |(host, _port)| host);
    let well_formed = is_plain(user, "._-+") && is_plain(host, ".-");
    well_formed.then(|| format!("https://{host}/{}", path.trim_start_matches('/')))
}

/// Whether a text begins with a letter or digit and has no others but these.
fn is_plain(text: &str, others: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

/// An address that was refused, as it may be shown: what may be a password is not.
pub(super) fn shown(written: &str) -> String {
    let written = written.split(['?', '#']).next().unwrap_or_default();
    let public = match written.split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.rsplit_once('@').map_or(rest, |(_secret, rest)| rest);
            format!("{scheme}://{rest}")
        }
        None => written.to_owned(),
    };
    public.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: SourcePolicy = SourcePolicy { allow_local: true };
    const STRICT: SourcePolicy = SourcePolicy { allow_local: false };

    fn resolved(written: &str, parent: &str, policy: SourcePolicy) -> Result<(String, bool), BadUrl> {
        let parent = SourceUrl::parse(parent, LOCAL).unwrap();
        let Resolved { url, rewritten } = resolve(written, &parent, policy)?;
        Ok((url.as_str().to_owned(), rewritten))
    }

    #[test]
    fn relative_addresses_go_along_the_parents_path() {
        for (written, parent, expected) in [
            (
                "../b.git",
                "https://x.example/acme/a.git",
                "https://x.example/acme/b.git",
            ),
            (
                "../b.git",
                "https://x.example/acme/a.git/",
                "https://x.example/acme/b.git",
            ),
            (
                "../../o/b",
                "https://x.example:8443/acme/a",
                "https://x.example:8443/o/b",
            ),
            ("./b.git", "https://x.example/acme/a", "https://x.example/acme/a/b.git"),
            (".././../o/b/", "https://x.example/acme/a", "https://x.example/o/b"),
            ("../b.git", "https://x.example/a.git", "https://x.example/b.git"),
            (
                "..//evil.example/x",
                "https://x.example/a.git",
                "https://x.example//evil.example/x",
            ),
            (
                "./../../../../o",
                "https://x.example/a/b/c/d/e",
                "https://x.example/a/o",
            ),
            ("../a/../../../../o", "https://x.example/a/b", "https://x.example/o"),
            ("../b", "file:///srv/git/a", "file:///srv/git/b"),
        ] {
            assert_eq!(
                resolved(written, parent, LOCAL),
                Ok((expected.to_owned(), false)),
                "{written}"
            );
        }
    }

    #[test]
    fn relative_addresses_never_lead_to_another_host() {
        // Git itself would come to https://evil.example/x.
        for written in [
            "../../evil.example/x",
            "../../../evil.example/x",
            "../../../../file:/etc",
        ] {
            assert_eq!(
                resolved(written, "https://x.example/a.git", LOCAL),
                Err(BadUrl::AboveRoot),
                "{written}"
            );
        }
        assert!(resolved("../", "https://x.example/a.git", LOCAL).is_err());
        assert!(resolved("../b?x", "https://x.example/a/b", LOCAL).is_err());
        assert!(resolved("../b\n", "https://x.example/a/b", LOCAL).is_err());
    }

    #[test]
    fn what_is_for_ssh_is_fetched_over_https() {
        for written in [
            "git@x.example:o/r.git",
            "git@x.example:/o/r.git",
            "ssh://git@x.example/o/r.git",
            "ssh://x.example/o/r.git",
            "ssh://git@x.example:2222/o/r.git",
            "https://ada@x.example/o/r.git",
        ] {
            assert_eq!(
                resolved(written, "https://x.example/a.git", STRICT),
                Ok(("https://x.example/o/r.git".to_owned(), true)),
                "{written}"
            );
        }
    }

    #[test]
    fn everything_passes_the_gate() {
        for written in [
            "",
            "/srv/r.git",
            "r.git",
            "..",
            "-ufoo",
            "ext::sh -c id",
            "ext::a@b:c",
            "git@-oProxyCommand=id:o/r",
            "ssh://-oProxyCommand=id/r",
            "git@127.0.0.1:o/r",
            "git@localhost:o/r",
            "https://ada:secret@x.example/o/r.git",
            "https://ada%40@x.example/o/r.git",
            "git@x.example:o/r\n.git",
            "git@x.example:",
            "git://x.example/o/r.git",
            "http://x.example/o/r.git",
            "http://127.0.0.1/o/r.git",
            "file:///srv/r.git",
            "fd::17/x",
        ] {
            assert!(
                matches!(
                    resolved(written, "https://x.example/a.git", STRICT),
                    Err(BadUrl::Refused(_))
                ),
                "{written}"
            );
        }
    }

    #[test]
    fn this_machines_repositories_are_for_those_on_it() {
        assert_eq!(
            resolved("file:///srv/r.git", "https://x.example/a.git", LOCAL),
            Err(BadUrl::Local)
        );
        assert!(resolved("file:///srv/r.git", "file:///srv/a.git", LOCAL).is_ok());
    }

    #[test]
    fn passwords_are_not_shown() {
        for (written, expected) in [
            ("https://ada:secret@x.example/r", "https://x.example/r"),
            ("https://ada:se/cret@x.example/r", "https://x.example/r"),
            ("https://x.example/r?token=secret", "https://x.example/r"),
            ("ext::sh -c id\u{1b}[0m", "ext::sh -c id\\u{1b}[0m"),
            ("git@x.example:r", "git@x.example:r"),
        ] {
            assert_eq!(shown(written), expected);
        }
        assert_eq!(shown(&"x".repeat(1000)).len(), MAX_SHOWN);
    }
}
