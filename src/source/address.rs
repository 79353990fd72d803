//! Which addresses a source may be fetched from, decided on what its host name resolves to.
//!
//! A name that anybody can register may point at this machine, a neighbour or a cloud's metadata service.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// What the administrator allows beyond public addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressPolicy {
    /// Loopback, for hosts that are loopback by their very name.
    pub allow_local: bool,
    /// Everything else that is not public, but for loopback.
    pub allow_private: bool,
}

/// Why an address is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` is at {address}, a {kind} address, which only an administrator can allow")]
pub(super) struct RefusedAddress {
    host: String,
    address: IpAddr,
    kind: &'static str,
}

impl AddressPolicy {
    /// Checks one address of a host.
    pub(super) fn check(self, host: &str, address: IpAddr) -> Result<(), RefusedAddress> {
        let address = unmapped(address);
        let kind = if is_loopback(address) {
            match self.allow_local && names_loopback(host) {
                true => return Ok(()),
                false => "loopback",
            }
        } else {
            match special_kind(address) {
                None => return Ok(()),
                Some(_) if self.allow_private => return Ok(()),
                Some(kind) => kind,
            }
        };
        Err(RefusedAddress {
            host: host.to_owned(),
            address,
            kind,
        })
    }

    /// Checks a host that is an address itself and is never resolved.
    pub(super) fn check_literal(self, host: Option<Host<&str>>) -> Result<(), RefusedAddress> {
        match host {
            Some(Host::Ipv4(address)) => self.check(&address.to_string(), address.into()),
            Some(Host::Ipv6(address)) => self.check(&address.to_string(), address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }

    /// Keeps the allowed addresses; fails if there were only others.
    fn filter(self, host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, RefusedAddress> {
        let mut refused = None;
        let mut allowed = Vec::new();
        for address in addresses {
            match self.check(host, address.ip()) {
                Ok(()) => allowed.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match (allowed.is_empty(), refused) {
            (true, Some(error)) => Err(error),
            _ => Ok(allowed),
        }
    }
}

/// The system's resolver, of whose answers only allowed addresses are kept; the client connects to no others.
pub(super) struct CheckedResolver(pub AddressPolicy);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0;
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed = policy.filter(name.as_str(), addresses)?;
            if allowed.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn names_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: IpAddr| is_loopback(unmapped(address)))
}

fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64, 6to4 (RFC 4291, 6052, 3056).
fn unmapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let s = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

/// What an address is if it is not a public one, after the IANA special-purpose registries.
fn special_kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("unspecified"),
        [169, 254, ..] => Some("link-local"),
        [100, 64..=127, ..] => Some("carrier-grade NAT"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [224..=239, ..] => Some("multicast"),
        [192, 0, 0, _]
        | [192, 0, 2, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Some("reserved"),
        _ => None,
    }
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let s = address.segments();
    match s[0] {
        _ if address.is_unspecified() => Some("unspecified"),
        0xfe80..=0xfebf => Some("link-local"),
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Some("private"),
        0xff00..=0xffff => Some("multicast"),
        0x2001 if s[1] < 0x200 || s[1] == 0xdb8 => Some("reserved"),
        0x64 if s[1] == 0xff9b => Some("private"),
        0x2000..=0x3fff => None,
        _ => Some("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: AddressPolicy = AddressPolicy {
        allow_local: false,
        allow_private: false,
    };
    const LOCAL: AddressPolicy = AddressPolicy {
        allow_local: true,
        allow_private: false,
    };
    const PRIVATE: AddressPolicy = AddressPolicy {
        allow_local: false,
        allow_private: true,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn public_addresses_are_allowed() {
        for public in [
            "140.82.121.4",
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(STRICT.check("git.example.com", ip(public)).is_ok(), "{public}");
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_by_name() {
        for (address, kind) in [
            ("127.0.0.1", "loopback"),
            ("127.8.9.10", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.1.1", "private"),
            ("169.254.169.254", "link-local"),
            ("100.64.0.1", "carrier-grade NAT"),
            ("100.100.100.200", "carrier-grade NAT"),
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("255.255.255.255", "reserved"),
            ("192.0.2.1", "reserved"),
            ("198.18.0.1", "reserved"),
            ("::", "unspecified"),
            ("fe80::1", "link-local"),
            ("fd00:ec2::254", "private"),
            ("fc00::1", "private"),
            ("fec0::1", "private"),
            ("ff02::1", "multicast"),
            ("2001:db8::1", "reserved"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:169.254.169.254", "link-local"),
            ("::a00:1", "private"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("2002:a00:1::", "private"),
            ("4000::1", "reserved"),
        ] {
            assert_eq!(
                STRICT.check("git.example.com", ip(address)).unwrap_err().kind,
                kind,
                "{address}"
            );
        }
    }

    #[test]
    fn loopback_is_for_hosts_that_are_loopback_by_name_where_that_is_allowed() {
        for host in ["localhost", "LOCALHOST.", "git.localhost", "127.0.0.1", "::1"] {
            assert!(LOCAL.check(host, ip("127.0.0.1")).is_ok(), "{host}");
            assert!(STRICT.check(host, ip("127.0.0.1")).is_err(), "{host}");
        }
        assert!(LOCAL.check("rebound.example.com", ip("127.0.0.1")).is_err());
        assert!(PRIVATE.check("rebound.example.com", ip("127.0.0.1")).is_err());
        assert!(PRIVATE.check("git.corp.example.com", ip("10.1.2.3")).is_ok());
        assert!(LOCAL.check("git.corp.example.com", ip("10.1.2.3")).is_err());
    }

    #[test]
    fn of_several_addresses_only_the_allowed_are_connected_to() {
        let of = |list: &[&str]| list.iter().map(|a| SocketAddr::new(ip(a), 0)).collect::<Vec<_>>();
        assert_eq!(
            STRICT.filter("x", of(&["10.0.0.1", "1.1.1.1"])).unwrap(),
            of(&["1.1.1.1"])
        );
        let refused = STRICT.filter("x.example.com", of(&["10.0.0.1"])).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`x.example.com` is at 10.0.0.1, a private address, which only an administrator can allow"
        );
    }

    #[tokio::test]
    async fn the_resolver_refuses_a_name_that_leads_to_this_machine() {
        let resolve = |policy| CheckedResolver(policy).resolve("localhost".parse().unwrap());
        assert!(resolve(LOCAL).await.is_ok());
        let error = resolve(STRICT).await.err().unwrap();
        assert!(error.downcast_ref::<RefusedAddress>().is_some(), "{error}");
    }
}
