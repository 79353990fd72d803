//! Questions to the provider: bounded in time and size, never redirected, never sent in the clear to another machine.

use std::{error::Error, pin::Pin, time::Duration};

use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{Client, Request, Response, header, redirect::Policy};
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::OidcError;

const USER_AGENT: &str = concat!("hullworks/", env!("CARGO_PKG_VERSION"));

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For a whole question, with its answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer, in bytes.
const LARGEST: usize = 256 << 10;

pub(super) struct Http(Client);

impl Http {
    pub(super) fn new() -> Result<Self, OidcError> {
        Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .referer(false)
            .build()
            .map(Self)
            .map_err(|error| OidcError::Provider(format!("no provider can be asked: {}", root_cause(&error))))
    }

    /// A JSON document.
    pub(super) async fn get_json<T: DeserializeOwned>(&self, url: &Url, bearer: Option<&str>) -> Result<T, OidcError> {
        let mut question = self.0.get(url.clone()).header(header::ACCEPT, "application/json");
        if let Some(token) = bearer {
            question = question.bearer_auth(token);
        }
        let answer = question.send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        if !status.is_success() {
            let message = format!("{} answers {status}", url.path());
            return Err(match status.is_server_error() {
                true => OidcError::Unavailable(message),
                false => OidcError::Provider(message),
            });
        }
        let body = body_of(answer).await?;
        serde_json::from_slice(&body)
            .map_err(|error| OidcError::Provider(format!("{} is not the document it should be: {error}", url.path())))
    }

    /// A request that `oauth2` made.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, OidcError> {
        let request = Request::try_from(request)
            .map_err(|error| OidcError::Provider(format!("it cannot be asked for a token: {error}")))?;
        let answer = self.0.execute(request).await.map_err(|error| unreachable(&error))?;
        if answer.status().is_server_error() {
            let message = format!("its token endpoint answers {}", answer.status());
            return Err(OidcError::Unavailable(message));
        }
        let mut response = HttpResponse::new(vec![]);
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = body_of(answer).await?;
        Ok(response)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = OidcError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, OidcError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

async fn body_of(mut answer: Response) -> Result<Vec<u8>, OidcError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(OidcError::Provider(format!(
                "it answers with more than {} KiB",
                LARGEST >> 10
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: &reqwest::Error) -> OidcError {
    OidcError::Unavailable(root_cause(error))
}

/// The innermost error: the outer ones only say that sending failed, and repeat the address.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The address, if a provider may be asked at it.
pub(super) fn safe_url(what: &str, address: &str) -> Result<Url, OidcError> {
    let refused = || OidcError::Provider(format!("{what} is not an https address"));
    let url = Url::parse(address).map_err(|_| refused())?;
    is_safe(&url).then_some(url).ok_or_else(refused)
}

/// `https`, or `http` on this machine.
fn is_safe(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_encrypted = url.scheme() == "https" && url.has_host();
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    (is_encrypted || (url.scheme() == "http" && is_loopback)) && !has_credentials
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_elsewhere_is_asked_by_tls_alone() {
        let check = |address: &str, expected| assert_eq!(safe_url("it", address).is_ok(), expected, "{address}");
        check("https://id.example.com", true);
        check("https://id.example.com/realms/one", true);
        check("http://127.0.0.1:3000", true);
        check("http://[::1]:3000", true);
        check("http://localhost:3000", true);
        check("http://id.example.com", false);
        check("http://localhost.example.com", false);
        check("http://127.0.0.1.example.com", false);
        check("https://user:password@id.example.com", false);
        check("file:///etc/passwd", false);
        check("id.example.com", false);
        check("", false);
    }
}
