//! The HTTP API as the commands see it: JSON in, JSON out, problems as errors.
//!
//! The token comes from the environment alone (an argument would show in the list of processes) and goes to no address
//! but the configured one: redirects are not followed.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

pub const URL_VARIABLE: &str = "HULLWORKS_URL";
pub const TOKEN_VARIABLE: &str = "HULLWORKS_TOKEN";

const DEFAULT_URL: &str = "http://127.0.0.1:8080";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence after which a connection counts as dead; streams send something more often.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// Entries that are asked for at once when a whole list is wanted; the API's maximum.
const PAGE: usize = 200;

/// Why a request had no success.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The environment does not say which server, or how.
    #[error("{0}")]
    Setup(String),
    /// No answer; it may come later.
    #[error("no answer from {url} ({URL_VARIABLE} names another server)")]
    Unreachable { url: String, source: reqwest::Error },
    /// The server's own words.
    #[error("{message}")]
    Refused { status: StatusCode, message: String },
    #[error("{url} does not answer like a Hullworks server: {what}")]
    Foreign { url: String, what: String },
}

impl ClientError {
    /// Whether the same request may succeed a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Setup(_) | Self::Foreign { .. } => false,
        }
    }

    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: StatusCode::NOT_FOUND,
                ..
            }
        )
    }
}

/// A server, and who we are to it.
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
}

impl Client {
    /// The server that `HULLWORKS_URL` names, with `HULLWORKS_TOKEN`.
    pub fn from_environment() -> Result<Self, ClientError> {
        let variable = |name: &str| match std::env::var_os(name).map(std::ffi::OsString::into_string) {
            Some(Ok(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(Err(_)) => Err(ClientError::Setup(format!("{name} is not text"))),
            None => Ok(None),
        };
        let url = variable(URL_VARIABLE)?.unwrap_or_else(|| DEFAULT_URL.to_owned());
        Self::new(&url, variable(TOKEN_VARIABLE)?.map(SecretString::from))
    }

    fn new(url: &str, token: Option<SecretString>) -> Result<Self, ClientError> {
        let base = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(base) = base else {
            return Err(ClientError::Setup(format!(
                "{URL_VARIABLE}: it is an address such as {DEFAULT_URL}"
            )));
        };
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("hullworks/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Setup(format!("connections cannot be made: {error}")))?;
        Ok(Self { http, base, token })
    }

    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, ClientError> {
        let response = self.send(self.request(Method::GET, path, query)?).await?;
        self.json(response).await
    }

    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value, ClientError> {
        let response = self.send(self.request(Method::POST, path, &[])?.json(body)).await?;
        self.json(response).await
    }

    pub async fn put(&self, path: &[&str], body: &Value) -> Result<Value, ClientError> {
        let response = self.send(self.request(Method::PUT, path, &[])?.json(body)).await?;
        self.json(response).await
    }

    /// What is at a path, or `None` if nothing is.
    pub async fn find(&self, path: &[&str]) -> Result<Option<Value>, ClientError> {
        match self.get(path, &[]).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A list's entries, at most `limit`, page by page.
    pub async fn list(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        limit: Option<usize>,
    ) -> Result<Vec<Value>, ClientError> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let wanted = limit.map_or(PAGE, |limit| (limit - items.len()).min(PAGE)).to_string();
            let mut query = query.to_vec();
            query.push(("limit", &wanted));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            let Value::Array(found) = page["items"].take() else {
                return Err(self.foreign("a list without `items`"));
            };
            let got_some = !found.is_empty();
            items.extend(found);
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || !got_some || limit.is_some_and(|limit| items.len() >= limit) {
                return Ok(items);
            }
        }
    }

    /// A build's log, whole or up to now, as it comes.
    pub async fn log(&self, build: &str) -> Result<Response, ClientError> {
        self.send(self.request(Method::GET, &["builds", build, "log"], &[])?)
            .await
    }

    /// A build's log as events, from after `last_event` on, until the build ends.
    pub async fn log_events(&self, build: &str, last_event: Option<&str>) -> Result<Response, ClientError> {
        let mut request = self.request(Method::GET, &["builds", build, "log"], &[])?;
        request = request.header(header::ACCEPT, "text/event-stream");
        if let Some(id) = last_event {
            request = request.header("last-event-id", id);
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, ClientError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ClientError::Setup(format!("{URL_VARIABLE}: nothing can be below it")))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self
            .http
            .request(method, url)
            .header(header::ACCEPT, "application/json");
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.is_redirection() {
            return Err(self.foreign("it redirects; give the address that it redirects to"));
        }
        let body = self.body(response).await?;
        Err(ClientError::Refused {
            status,
            message: describe_problem(status, &body, self.token.is_some()),
        })
    }

    async fn json(&self, response: Response) -> Result<Value, ClientError> {
        let status = response.status();
        let body = self.body(response).await?;
        if body.is_empty() && status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|_| self.foreign("the answer is not JSON"))
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            body.extend_from_slice(&piece.map_err(|source| self.unreachable(source))?);
            if body.len() > MAX_ANSWER {
                return Err(self.foreign("the answer has no end"));
            }
        }
        Ok(body)
    }

    /// A transport error, with the address it concerns.
    pub fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.base.to_string(),
            source: source.without_url(),
        }
    }

    fn foreign(&self, what: &str) -> ClientError {
        ClientError::Foreign {
            url: self.base.to_string(),
            what: what.to_owned(),
        }
    }
}

/// A problem (RFC 9457) in words, with a line for each field at fault.
fn describe_problem(status: StatusCode, body: &[u8], has_token: bool) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| problem[key].as_str().filter(|text| !text.is_empty());
    let mut message = match text("detail").or_else(|| text("title")) {
        Some(words) => words.to_owned(),
        None => format!("the server answers {status}"),
    };
    for error in problem["errors"].as_array().into_iter().flatten() {
        let part = |keys: [&str; 2]| keys.into_iter().find_map(|key| error[key].as_str()).unwrap_or_default();
        let (field, what) = (part(["field", "pointer"]), part(["message", "detail"]));
        // With one field at fault the detail often says it all.
        if !(message.contains(field) && message.contains(what)) {
            message.push_str(&format!("\n  {field}: {what}"));
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        message.push_str(match has_token {
            true => "\nit is the one in HULLWORKS_TOKEN; `hullworks token create` makes another",
            false => "\nset HULLWORKS_TOKEN to a token from `hullworks token create`",
        });
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_fields() {
        let body = serde_json::json!({
            "title": "Unprocessable", "status": 422, "detail": "the document cannot be saved",
            "errors": [{"field": "rules[0].docker_tag", "message": "a tag has no spaces"}],
        });
        assert_eq!(
            describe_problem(StatusCode::UNPROCESSABLE_ENTITY, body.to_string().as_bytes(), true),
            "the document cannot be saved\n  rules[0].docker_tag: a tag has no spaces"
        );
    }

    #[test]
    fn an_answer_that_is_no_problem_still_says_something() {
        let message = describe_problem(StatusCode::BAD_GATEWAY, b"<html>", true);
        assert_eq!(message, "the server answers 502 Bad Gateway");
    }

    #[test]
    fn a_missing_token_is_pointed_out() {
        let message = describe_problem(StatusCode::UNAUTHORIZED, br#"{"detail": "sign in"}"#, false);
        assert!(
            message.contains("HULLWORKS_TOKEN") && message.starts_with("sign in"),
            "{message}"
        );
    }

    #[test]
    fn paths_are_below_the_address_and_encoded() {
        let client = Client::new("https://example.com/hullworks/", None).unwrap();
        let request = client
            .request(Method::GET, &["registries", "a/b?c"], &[("cursor", "a&b")])
            .unwrap()
            .build()
            .unwrap();
        assert_eq!(
            request.url().as_str(),
            "https://example.com/hullworks/api/v1/registries/a%2Fb%3Fc?cursor=a%26b"
        );
    }

    #[test]
    fn an_address_that_is_none_is_wrong_usage() {
        for wrong in ["", "localhost:8080", "ftp://x", "unix:///x"] {
            assert!(
                matches!(Client::new(wrong, None), Err(ClientError::Setup(_))),
                "{wrong}"
            );
        }
    }
}
