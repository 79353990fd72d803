//! From where and with what a request was sent: for people to recognise their own sessions, and to slow down guessing. Never
//! a ground to let anybody do anything.

use std::{convert::Infallible, net::IpAddr};

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts};

use super::{Web, serve::Peer};

/// Longest part of a browser's description of itself that is kept, in characters.
const LONGEST_AGENT: usize = 300;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// Whoever sent a request, as far as the request tells.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// `None` where the connection tells no address.
    pub address: Option<IpAddr>,
    /// One line; empty where nothing was said.
    pub user_agent: String,
}

impl Visitor {
    pub fn of(parts: &Parts) -> Self {
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.to_canonical());
        Self {
            address: peer.map(|peer| address_behind(peer, &parts.headers)),
            user_agent: user_agent(&parts.headers),
        }
    }

    /// The address as a text; empty where it is not known.
    pub fn address_text(&self) -> String {
        self.address.map(|address| address.to_string()).unwrap_or_default()
    }
}

impl FromRequestParts<Web> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// A proxy on this machine adds whom it speaks for at the end of `X-Forwarded-For`. From elsewhere the header is anybody's
/// invention.
fn address_behind(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let told = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .next_back()
        .filter(|_| peer.is_loopback())
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.rsplit(',').next())
        .and_then(|last| last.trim().parse::<IpAddr>().ok());
    told.map_or(peer, |told| told.to_canonical())
}

fn user_agent(headers: &HeaderMap) -> String {
    let text = headers
        .get(header::USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .unwrap_or_default();
    text.chars().filter(|c| !c.is_control()).take(LONGEST_AGENT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_proxy_on_this_machine_is_believed_about_the_last_address_and_nobody_else_is() {
        let check = |peer: &str, forwarded: &[&str], expected: &str| {
            let pairs: Vec<_> = forwarded.iter().map(|value| (FORWARDED_FOR, *value)).collect();
            let found = address_behind(peer.parse().unwrap(), &headers(&pairs));
            assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
        };
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &["192.0.2.7"], "192.0.2.7");
        check("::1", &["198.51.100.1, 192.0.2.7"], "192.0.2.7");
        check("127.0.0.1", &["198.51.100.1", "192.0.2.7"], "192.0.2.7");
        check("127.0.0.1", &["::ffff:192.0.2.7"], "192.0.2.7");
        check("127.0.0.1", &["nonsense"], "127.0.0.1");
        check("203.0.113.5", &["192.0.2.7"], "203.0.113.5");
    }

    #[test]
    fn what_a_browser_says_of_itself_is_one_short_line() {
        assert_eq!(user_agent(&headers(&[])), "");
        assert_eq!(user_agent(&headers(&[("user-agent", "a\tbrowser")])), "abrowser");
        let long = "x".repeat(LONGEST_AGENT + 1);
        assert_eq!(user_agent(&headers(&[("user-agent", &long)])).len(), LONGEST_AGENT);
    }
}
