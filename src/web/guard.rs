//! What holds for every answer: headers against misuse in browsers, and problems in place of bare statuses.

use std::any::Any;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};

use super::{Web, problem::Problem, webhooks};

/// Where a browser says whether a page of ours made it send a request.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Our own files and nothing else: no script or style inside a page, no frames, no other host.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; object-src 'none'; \
                                       base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Set on every answer, unless it brings its own.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Nothing to others; and with none at all browsers would send our own forms with `Origin: null`.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Answers depend on who asks, and one of them holds a fresh secret.
    (header::CACHE_CONTROL, "no-store"),
];

pub async fn secure(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Refuses what another site makes a browser send, whoever is signed in there: 403.
///
/// Webhooks come from programs and are signed. Programs that send neither header are not affected.
pub async fn same_origin(State(web): State<Web>, request: Request, next: Next) -> Response {
    let is_exempt = request.method().is_safe() || request.uri().path().starts_with(webhooks::PREFIX);
    match is_exempt || is_ours(request.headers(), &web.settings.base_url) {
        true => next.run(request).await,
        false => Problem::forbidden("this request was made by a page of another site").into_response(),
    }
}

/// Whether a request comes from one of our own pages, or from no page at all.
fn is_ours(headers: &HeaderMap, base_url: &str) -> bool {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let site = headers.get(SEC_FETCH_SITE).map(text);
    if !matches!(site.as_deref(), None | Some("same-origin" | "none")) {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN).map(text) else {
        return true;
    };
    // Behind a proxy the host may be another than the configured one; the scheme is not ours to know.
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    let of_host = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
        .is_some_and(|of_origin| !host.is_empty() && of_origin.eq_ignore_ascii_case(&host));
    let of_base = url::Url::parse(base_url).is_ok_and(|base| base.origin().ascii_serialization() == origin);
    of_host || of_base
}

/// 405; the router adds `Allow`.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} cannot be asked for with {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// A handler panicked: one request fails, the others do not notice.
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    Problem::internal(&message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_ours_when_every_header_that_says_whence_says_so() {
        let check = |pairs: &[(&'static str, &'static str)], expected: bool| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(is_ours(&headers, "https://hub.example.com"), expected, "{pairs:?}");
        };
        check(&[], true);
        check(&[("host", "hub.example.com")], true);
        check(&[("origin", "https://hub.example.com")], true);
        check(&[("origin", "http://10.0.0.7:8080"), ("host", "10.0.0.7:8080")], true);
        check(&[("origin", "https://HUB.lan"), ("host", "hub.LAN")], true);
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "none")], true);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("sec-fetch-site", "nonsense")], false);
        check(
            &[("sec-fetch-site", "cross-site"), ("origin", "https://hub.example.com")],
            false,
        );
        check(
            &[("origin", "https://evil.example.com"), ("host", "hub.example.com")],
            false,
        );
        check(
            &[
                ("origin", "https://evil.example.com"),
                ("sec-fetch-site", "same-origin"),
            ],
            false,
        );
        check(&[("origin", "https://hub.example.com.evil.com")], false);
        check(&[("origin", "http://hub.example.com")], false);
        check(&[("origin", "null"), ("host", "hub.example.com")], false);
        check(&[("origin", "https://"), ("host", "")], false);
        check(&[("origin", "https://")], false);
        check(&[("origin", "")], false);
    }
}
