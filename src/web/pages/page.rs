//! Making pages: rendering, redirects, and errors that say what happened and what to do.

use askama::Template;
use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, Uri, header};

use super::{notice::Notice, viewer::Viewer};
use crate::web::{Web, problem::Problem};

/// What a page's handler answers.
pub type PageResult = Result<Response, Problem>;

/// A page.
pub fn render(page: &impl Template) -> PageResult {
    render_with(StatusCode::OK, page)
}

/// A page that says that something was not done.
pub fn render_with(status: StatusCode, page: &impl Template) -> PageResult {
    let html = page.render().map_err(|error| Problem::internal(&error))?;
    Ok((status, Html(html)).into_response())
}

/// 303: the browser goes on to another page, by GET.
pub fn see_other(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response(),
        Err(_) => (
            StatusCode::SEE_OTHER,
            [(header::LOCATION, HeaderValue::from_static("/"))],
        )
            .into_response(),
    }
}

/// 303 to a page that says what was done.
pub fn done(path: &str, notice: &Notice) -> Response {
    let mut response = see_other(path);
    if let Some(cookie) = notice.to_header() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// A path on this server, where `asked` is one; the start otherwise. Browsers take `//host` and `/\host` for other hosts.
pub fn local_path(asked: &str) -> &str {
    let rest = asked.strip_prefix('/');
    match rest {
        Some(rest) if !rest.starts_with(['/', '\\']) && !asked.contains(|c: char| c.is_control()) => asked,
        _ => "/",
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    viewer: Viewer,
    status: u16,
    title: &'static str,
    detail: String,
}

/// What browsers get in place of a problem: somebody who must say who they are is led to do so, everybody else reads what
/// happened and what to do. Programs, and scripts of ours that ask for JSON, get the problem itself.
pub async fn problems_become_pages(State(web): State<Web>, request: Request, next: Next) -> Response {
    let for_people = wants_page(&request);
    let (method, uri, headers) = (
        request.method().clone(),
        request.uri().clone(),
        request.headers().clone(),
    );
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>().filter(|_| for_people) else {
        return response;
    };
    if problem.status() == StatusCode::UNAUTHORIZED && method.is_safe() {
        return see_other(&sign_in_path(&uri));
    }
    let mut parts = Request::new(()).into_parts().0;
    let path = uri.path().to_owned();
    (parts.uri, parts.headers) = (uri, headers);
    let mut viewer = match Viewer::from_request_parts(&mut parts, &web).await {
        Ok(viewer) => viewer,
        // What keeps us from knowing them is likely the problem itself.
        Err(_) => Viewer::nobody(web.clock.now()),
    };
    // What was wrong may be a secret that has no place in an address: it is not repeated.
    viewer.path = path;
    let page = ErrorPage {
        viewer,
        status: problem.status().as_u16(),
        title: problem.status().canonical_reason().unwrap_or("Error"),
        detail: sentence(problem.detail()),
    };
    let Ok(html) = page.render() else {
        return response;
    };
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    // They told of the problem's own bytes, which may have been compressed already.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONTENT_ENCODING);
    *response.body_mut() = html.into();
    response
}

fn wants_page(request: &Request) -> bool {
    let path = request.uri().path();
    let accepts_pages = request
        .headers()
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"text/html"));
    accepts_pages && !path.starts_with("/api/") && !path.starts_with("/webhooks/")
}

/// The sign-in page, with the way back.
fn sign_in_path(uri: &Uri) -> String {
    let back = uri.path_and_query().map_or("/", |path| path.as_str());
    let back: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
    format!("/sign-in?next={back}")
}

/// A fragment of the API, as a sentence.
pub fn sentence(fragment: &str) -> String {
    let mut characters = fragment.chars();
    let first = characters
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    let end = if fragment.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_host() {
        for path in ["/", "/r/team/app?x=1", "/settings/tokens"] {
            assert_eq!(local_path(path), path);
        }
        for path in [
            "",
            "x",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "/a\nb",
            "javascript:1",
        ] {
            assert_eq!(local_path(path), "/", "{path:?}");
        }
    }

    #[test]
    fn a_fragment_becomes_a_sentence() {
        assert_eq!(sentence("there is no such page"), "There is no such page.");
        assert_eq!(sentence("Ärger?"), "Ärger?");
        assert_eq!(sentence(""), ".");
    }
}
