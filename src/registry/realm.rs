//! Decides which token services may see a registry's credentials.

use url::{Host, Url};

use super::address;
use crate::domain::image::DOCKER_HUB;

/// Docker Hub's token service; its registry has other domains too, so this one is known by name.
const DOCKER_HUB_REALM: &str = "auth.docker.io";

/// Whether the token service at `realm` may see the credentials of `registry` (whose API is at `base`).
///
/// It may if it is on the same host (any port), under the same registrable domain, is Docker Hub's own for Docker
/// Hub, or was listed; and in each case only over `https`, unless its host may be spoken to in the clear.
pub(super) fn may_see_credentials(
    registry: &str,
    base: &Url,
    realm: &Url,
    trusted: &[String],
    insecure: &[String],
) -> bool {
    if !is_safe_transport(realm, insecure) {
        return false;
    }
    let known = match registry {
        DOCKER_HUB => realm.host_str() == Some(DOCKER_HUB_REALM) && realm.port().is_none(),
        _ => realm.host() == base.host() || same_registrable_domain(base, realm),
    };
    known || trusted.iter().any(|listed| address::names(listed, realm))
}

/// Whether the token service at `realm` may be asked for a token for nobody in particular.
///
/// No secret is at stake, but the request is made from inside the administrator's network: so no bare addresses.
pub(super) fn may_be_asked_anonymously(registry: &str, base: &Url, realm: &Url, insecure: &[String]) -> bool {
    let public = realm.scheme() == "https" && matches!(realm.host(), Some(Host::Domain(name)) if name.contains('.'));
    public || may_see_credentials(registry, base, realm, &[], insecure)
}

fn is_safe_transport(realm: &Url, insecure: &[String]) -> bool {
    match realm.scheme() {
        "https" => true,
        "http" => address::may_be_plain(realm, insecure),
        _ => false,
    }
}

fn same_registrable_domain(one: &Url, other: &Url) -> bool {
    match (registrable_domain(one), registrable_domain(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// The part of a name that one owner registered, by the public suffix list. An address has none, and neither has a
/// name under a suffix that is not listed: in `registry.team-a.svc.cluster.local` nobody registered `cluster.local`.
fn registrable_domain(url: &Url) -> Option<String> {
    let Some(Host::Domain(name)) = url.host() else {
        return None;
    };
    let domain = psl::domain(name.as_bytes())?.trim();
    if !domain.suffix().is_known() {
        return None;
    }
    String::from_utf8(domain.as_bytes().to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(registry: &str, realm: &str, trusted: &[&str]) -> bool {
        let trusted: Vec<String> = trusted.iter().map(|&host| host.to_owned()).collect();
        let insecure = ["plain.example.com".to_owned()];
        let bases = address::bases(registry, &insecure).unwrap();
        may_see_credentials(registry, &bases[0], &Url::parse(realm).unwrap(), &trusted, &insecure)
    }

    #[test]
    fn the_same_owner_may_see_credentials() {
        for (registry, realm) in [
            ("docker.io", "https://auth.docker.io/token"),
            ("ghcr.io", "https://ghcr.io/token"),
            ("quay.io", "https://quay.io/v2/auth"),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("registry.example.co.uk:5000", "https://auth.example.co.uk:5001/token"),
            ("Registry.Example.com", "https://AUTH.example.com/token"),
            ("10.0.0.1:5000", "https://10.0.0.1:5001/token"),
            ("127.0.0.1:5000", "http://127.0.0.1:5001/token"),
            ("localhost:5000", "http://localhost:5001/token"),
            ("registry", "https://registry/token"),
            ("plain.example.com", "http://plain.example.com/token"),
        ] {
            assert!(trusts(registry, realm, &[]), "{registry} {realm}");
        }
    }

    #[test]
    fn anybody_else_may_not() {
        for (registry, realm) in [
            ("docker.io", "https://auth.docker.io.evil.example/token"),
            ("docker.io", "https://auth.docker.io:8443/token"),
            ("docker.io", "https://evil.docker.io/token"),
            ("docker.io", "https://registry-1.docker.io@evil.example/token"),
            ("registry.example.com", "https://auth.example.net/token"),
            ("registry.example.com", "https://evilexample.com/token"),
            ("registry.example.co.uk", "https://auth.evil.co.uk/token"),
            ("one.github.io", "https://two.github.io/token"),
            (
                "registry.team-a.svc.cluster.local",
                "https://evil.team-b.svc.cluster.local/token",
            ),
            ("10.0.0.1", "https://10.0.0.2/token"),
            ("127.0.0.1:5000", "http://127.0.0.2:5000/token"),
            ("127.0.0.1:5000", "http://localhost:5000/token"),
            ("registry.example.com", "https://auth.docker.io/token"),
        ] {
            assert!(!trusts(registry, realm, &[]), "{registry} {realm}");
        }
    }

    #[test]
    fn nobody_may_see_credentials_in_the_clear() {
        for (registry, realm) in [
            ("registry.example.com", "http://registry.example.com/token"),
            ("docker.io", "http://auth.docker.io/token"),
            ("plain.example.com", "http://auth.example.com/token"),
            ("registry.example.com", "ftp://registry.example.com/token"),
        ] {
            assert!(
                !trusts(registry, realm, &["registry.example.com", "auth.docker.io"]),
                "{registry} {realm}"
            );
        }
    }

    #[test]
    fn a_listed_realm_is_trusted_by_exact_name() {
        let check = |listed: &str, realm: &str, expected: bool| {
            assert_eq!(
                trusts("registry.example.com", realm, &[listed]),
                expected,
                "{listed} {realm}"
            );
        };
        check("auth.example.net", "https://auth.example.net/token", true);
        check("auth.example.net", "https://auth.example.net:8443/token", true);
        check("auth.example.net:8443", "https://auth.example.net:8443/token", true);
        check("auth.example.net:8443", "https://auth.example.net/token", false);
        check("example.net", "https://auth.example.net/token", false);
        check("10.0.0.9", "https://10.0.0.9/token", true);
    }

    #[test]
    fn without_credentials_any_public_name_may_be_asked_but_no_address() {
        let check = |realm: &str, expected: bool| {
            let base = Url::parse("https://registry.example.com/v2/").unwrap();
            let realm = Url::parse(realm).unwrap();
            let asked = may_be_asked_anonymously("registry.example.com", &base, &realm, &[]);
            assert_eq!(asked, expected, "{realm}");
        };
        check("https://auth.example.net/token", true);
        check("https://registry.example.com/token", true);
        check("http://auth.example.net/token", false);
        check("https://169.254.169.254/token", false);
        check("http://169.254.169.254/token", false);
        check("http://127.0.0.1/token", false);
        check("https://localhost/token", false);
        check("https://[::1]/token", false);
        check("https://2130706433/token", false);
    }
}
