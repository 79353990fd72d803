//! The gate for the addresses that source code is fetched from, applied when saved and again at every clone.

use std::net::IpAddr;

use url::{Host, Url};

use super::event::PushedRepository;

/// What the administrator allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourcePolicy {
    /// `file` and `http` to loopback: for the demo, the tests, and plain git servers on the same machine.
    pub allow_local: bool,
}

/// Why an address is not fetched from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedUrl {
    #[error("it is not a URL; write it like https://github.com/acme/app.git")]
    NotAUrl,
    #[error("it holds white space or a control character")]
    ControlCharacter,
    #[error("the scheme `{0}` is not fetched from; https is")]
    Scheme(String),
    #[error("a user name or password in it would be shown; put them into the source's credentials")]
    Credentials,
    #[error("it names no host")]
    NoHost,
    #[error("it names no repository")]
    NoPath,
    #[error("a query or fragment has no place in it")]
    Query,
    #[error("`{0}` is on this machine, which only an administrator can allow (allow_local_sources)")]
    Local(String),
}

/// An address that passed the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceUrl(Url);

impl SourceUrl {
    /// Applies the gate. The address that a host name resolves to is looked at later, when it is connected to.
    pub fn parse(text: &str, policy: SourcePolicy) -> Result<Self, RefusedUrl> {
        // The URL standard strips some of these silently, so that what is checked would differ from what was written.
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(RefusedUrl::ControlCharacter);
        }
        let url = Url::parse(text).map_err(|_| RefusedUrl::NotAUrl)?;
        if !text.to_ascii_lowercase().starts_with(&format!("{}://", url.scheme())) {
            return Err(match url.scheme() {
                "https" | "http" | "file" => RefusedUrl::NotAUrl,
                scheme => RefusedUrl::Scheme(scheme.to_owned()),
            });
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => require_local(&url, policy)?,
            "file" if url.host().is_none() => require_local(&url, policy)?,
            scheme => return Err(RefusedUrl::Scheme(scheme.to_owned())),
        }
        if url.scheme() != "file" && url.host_str().unwrap_or_default().is_empty() {
            return Err(RefusedUrl::NoHost);
        }
        if is_loopback(&url) {
            require_local(&url, policy)?;
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedUrl::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(RefusedUrl::Query);
        }
        if url.path().trim_matches('/').is_empty() {
            return Err(RefusedUrl::NoPath);
        }
        Ok(Self(url))
    }

    pub fn as_url(&self) -> &Url {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a payload is about this very repository.
    ///
    /// One of the payload's addresses must be this one, or its full name the end of this one's path. The path of a
    /// `file` source says nothing of a forge's owner and name, so there only an address of the same kind can contradict.
    pub fn is_named_by(&self, pushed: &PushedRepository) -> bool {
        let own = comparable(&self.0);
        let urls: Vec<Url> = pushed.urls.iter().filter_map(|text| Url::parse(text).ok()).collect();
        if urls.iter().any(|url| comparable(url) == own) {
            return true;
        }
        if self.0.scheme() == "file" {
            return !urls.iter().any(|url| url.scheme() == "file");
        }
        let own_path = repository_path(&self.0);
        let full_name = pushed.full_name.to_lowercase();
        !full_name.is_empty() && (own_path == full_name || own_path.ends_with(&format!("/{full_name}")))
    }
}

fn require_local(url: &Url, policy: SourcePolicy) -> Result<(), RefusedUrl> {
    if policy.allow_local {
        Ok(())
    } else {
        Err(RefusedUrl::Local(url.to_string()))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
        }
        None => false,
    }
}

/// Host, port and path, without what does not tell two repositories apart.
fn comparable(url: &Url) -> (Option<String>, Option<u16>, String) {
    (url.host_str().map(str::to_lowercase), url.port(), repository_path(url))
}

fn repository_path(url: &Url) -> String {
    let path = url.path().trim_matches('/').to_lowercase();
    path.strip_suffix(".git").unwrap_or(&path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: SourcePolicy = SourcePolicy { allow_local: true };
    const STRICT: SourcePolicy = SourcePolicy { allow_local: false };

    #[test]
    fn https_passes_and_local_sources_only_where_allowed() {
        assert!(SourceUrl::parse("https://github.com/acme/app.git", STRICT).is_ok());
        for local in [
            "http://127.0.0.1:3000/a.git",
            "http://localhost/a.git",
            "http://[::1]/a.git",
            "file:///srv/a.git",
        ] {
            assert!(SourceUrl::parse(local, LOCAL).is_ok(), "{local}");
            assert!(
                matches!(SourceUrl::parse(local, STRICT), Err(RefusedUrl::Local(_))),
                "{local}"
            );
        }
        assert!(matches!(
            SourceUrl::parse("https://127.0.0.1/a.git", STRICT),
            Err(RefusedUrl::Local(_))
        ));
    }

    #[test]
    fn everything_else_is_refused_even_where_local_sources_are_allowed() {
        for bad in [
            "",
            "/srv/a.git",
            "../a.git",
            "a.git",
            "-ufoo",
            "--upload-pack=touch /tmp/x",
            "ext::sh -c id",
            "ext::sh%20-c%20id",
            "git://example.com/a.git",
            "http://example.com/a.git",
            "http://10.0.0.1/a.git",
            "http://169.254.169.254/x",
            "file://example.com/a.git",
            "https:///a.git",
            "https://example.com",
            "https://example.com/",
            "ftp://x/a",
            "https://user:pw@example.com/a.git",
            "https://example.com/a.git?x=1",
            "https://example.com/a.git#x",
            "https://example.com/a\r\n.git",
            "https://example.com/a b.git",
            "https://exa\tmple.com/a.git",
            "file:/srv/a.git",
            "ssh://-oProxyCommand=id/a",
            "git@github.com:acme/app.git",
            "javascript:alert(1)",
        ] {
            assert!(SourceUrl::parse(bad, LOCAL).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_payload_must_name_the_configured_repository() {
        let check = |source: &str, full_name: &str, urls: &[&str], expected: bool| {
            let pushed = PushedRepository {
                full_name: full_name.to_owned(),
                urls: urls.iter().map(|u| (*u).to_owned()).collect(),
            };
            assert_eq!(
                SourceUrl::parse(source, LOCAL).unwrap().is_named_by(&pushed),
                expected,
                "{source} {full_name} {urls:?}"
            );
        };
        check("https://github.com/acme/app.git", "acme/app", &[], true);
        check("https://github.com/Acme/App", "acme/app", &[], true);
        check("https://bitbucket.example.com/scm/acme/app.git", "ACME/app", &[], true);
        check(
            "https://github.com/acme/app.git",
            "",
            &["https://github.com/acme/app"],
            true,
        );
        check(
            "https://github.com/acme/app.git",
            "evil/app",
            &["https://github.com/evil/app.git"],
            false,
        );
        check("https://github.com/acme/app.git", "app", &[], true);
        check("https://github.com/acme/my-app.git", "app", &[], false);
        check("https://github.com/acme/app.git", "", &[], false);
        check("http://127.0.0.1:3000/acme/app.git", "acme/other", &[], false);
        check(
            "file:///srv/app.git",
            "acme/other",
            &["https://github.com/acme/other.git"],
            true,
        );
        check("file:///srv/app.git", "app", &["file:///srv/app.git"], true);
        check("file:///srv/app.git", "other", &["file:///srv/other.git"], false);
    }
}
