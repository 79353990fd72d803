//! Where a registry's API is, and whether it may be spoken to without encryption.

use url::{Host, Url};

use super::RegistryError;
use crate::domain::image::{DOCKER_HUB, is_valid_registry_host};

/// Docker Hub's API is not at the host that its images name.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// The addresses of a registry's `/v2/`, in the order to try them: `https`, then `http` where that is allowed.
///
/// The Docker Engine tries in the same order, so that both find the same registry.
pub(super) fn bases(registry: &str, insecure: &[String]) -> Result<Vec<Url>, RegistryError> {
    let malformed = || RegistryError::Malformed(format!("`{}` is not a registry's host", registry.escape_debug()));
    if !is_valid_registry_host(registry) {
        return Err(malformed());
    }
    let host = if registry == DOCKER_HUB {
        DOCKER_HUB_API
    } else {
        registry
    };
    let https = Url::parse(&format!("https://{host}/v2/")).map_err(|_| malformed())?;
    if !may_be_plain(&https, insecure) {
        return Ok(vec![https]);
    }
    let http = Url::parse(&format!("http://{host}/v2/")).map_err(|_| malformed())?;
    Ok(vec![https, http])
}

/// Whether the host of an address is this machine, or listed as insecure by the administrator.
pub(super) fn may_be_plain(url: &Url, insecure: &[String]) -> bool {
    is_loopback(url) || insecure.iter().any(|listed| names(listed, url))
}

/// Whether a listed host is the one of an address: the name, and the port where the list gives one.
pub(super) fn names(listed: &str, url: &Url) -> bool {
    if !is_valid_registry_host(listed) {
        return false;
    }
    // Parsed as a URL, so that both are spelled alike.
    let Ok(parsed) = Url::parse(&format!("{}://{listed}/", url.scheme())) else {
        return false;
    };
    let has_port = !listed.ends_with(']') && listed.contains(':') && listed.rsplit(':').next().is_some_and(is_digits);
    parsed.host() == url.host() && (!has_port || parsed.port_or_known_default() == url.port_or_known_default())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(registry: &str, insecure: &[&str]) -> Vec<String> {
        let insecure: Vec<String> = insecure.iter().map(|&host| host.to_owned()).collect();
        let bases = bases(registry, &insecure).unwrap();
        bases.into_iter().map(String::from).collect()
    }

    #[test]
    fn docker_hub_is_elsewhere_than_its_name_says() {
        assert_eq!(texts("docker.io", &[]), ["https://registry-1.docker.io/v2/"]);
    }

    #[test]
    fn only_this_machine_and_listed_hosts_may_be_spoken_to_in_the_clear() {
        for encrypted in [
            "ghcr.io",
            "10.0.0.1:5000",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "[::2]:5000",
            "registry.lan:5001",
            "sub.plain.lan",
        ] {
            let bases = texts(encrypted, &["registry.lan:5000", "plain.lan"]);
            assert_eq!(bases, [format!("https://{encrypted}/v2/")]);
        }
        for plain in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.8.8.8",
            "[::1]:5000",
            "registry.lan:5000",
            "plain.lan:1234",
        ] {
            let bases = texts(plain, &["registry.lan:5000", "plain.lan"]);
            assert_eq!(bases, [format!("https://{plain}/v2/"), format!("http://{plain}/v2/")]);
        }
        assert_eq!(texts("Plain.Lan", &["plain.lan"]).len(), 2, "host names have no case");
    }

    #[test]
    fn a_listed_port_is_meant_exactly() {
        let check = |listed: &str, url: &str, expected: bool| {
            assert_eq!(names(listed, &Url::parse(url).unwrap()), expected, "{listed} {url}");
        };
        check("a.example", "https://a.example/", true);
        check("a.example", "https://a.example:8443/", true);
        check("a.example:443", "https://a.example/", true);
        check("a.example:443", "https://a.example:8443/", false);
        check("A.Example:8443", "https://a.example:8443/", true);
        check("[::1]", "http://[::1]:5000/", true);
        check("[::1]:5000", "http://[::1]:5000/", true);
        check("[::1]:5000", "http://[::1]:5001/", false);
        check("a.example", "https://b.a.example/", false);
        check("", "https://a.example/", false);
        check("*", "https://a.example/", false);
        check("x@a.example", "https://a.example/", false);
    }

    #[test]
    fn what_is_no_host_has_no_address() {
        for bad in [
            "",
            "a/b",
            "user@host",
            "a b",
            "host:0",
            "host?x",
            "http://host",
            "1.2.3.4.5",
        ] {
            assert!(matches!(bases(bad, &[]), Err(RegistryError::Malformed(_))), "{bad}");
        }
    }
}
