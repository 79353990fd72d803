//! Git's smart HTTP as a client that follows nothing off-site and shows the password to nobody else.
//!
//! Two requests make a fetch: one for the refs, then one or more for packs, each answered as a stream.

use std::error::Error;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode, redirect};
use secrecy::ExposeSecret;
use url::Url;

use super::address::{AddressPolicy, CheckedResolver, RefusedAddress};
use super::advertisement::Advertisement;
use super::limits::Limits;
use super::{GitCredentials, SourceConfig, SourceError};

/// Renamed repositories redirect once; more than a few is a loop.
const MAX_REDIRECTS: usize = 3;

const REFS_PATH: &str = "/info/refs";
const SERVICE: &str = "git-upload-pack";

/// Makes all requests of all fetches. Cheap to clone.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client,
    addresses: AddressPolicy,
}

/// A repository whose refs have been heard.
pub(super) struct HttpRepository {
    client: Client,
    /// Where the repository is after redirects, without a slash at its end.
    base: String,
    authorization: Option<HeaderValue>,
    pub advertisement: Advertisement,
}

impl HttpClient {
    pub(super) fn new(config: &SourceConfig) -> Result<Self, SourceError> {
        let addresses = AddressPolicy {
            allow_local: config.policy.allow_local,
            allow_private: config.allow_private_addresses,
        };
        let client = Client::builder()
            .user_agent(concat!("git/2 hullworks/", env!("CARGO_PKG_VERSION")))
            // Redirects are looked at here, before anything is sent to where they lead.
            .redirect(redirect::Policy::none())
            // Through a proxy the addresses that are connected to could not be checked.
            .no_proxy()
            .dns_resolver(CheckedResolver(addresses))
            .connect_timeout(config.connect_timeout)
            .build()
            .map_err(|error| SourceError::Invalid(format!("no HTTP client: {}", describe(&error))))?;
        Ok(Self { client, addresses })
    }

    /// Asks for the refs.
    pub(super) async fn connect(
        &self,
        url: &Url,
        credentials: Option<&GitCredentials>,
        max_refs: usize,
        limits: &Limits,
    ) -> Result<HttpRepository, SourceError> {
        self.addresses
            .check_literal(url.host())
            .map_err(|refused| SourceError::Invalid(refused.to_string()))?;
        let authorization = credentials.map(basic).transpose()?;
        let mut base = url.as_str().trim_end_matches('/').to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self
                .client
                .get(format!("{base}{REFS_PATH}?service={SERVICE}"))
                .header(ACCEPT_ENCODING, "identity")
                .header(ACCEPT, "*/*");
            if let Some(authorization) = &authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let response = limits.hear(request.send()).await?.map_err(|e| failed(&e))?;
            if response.status().is_redirection() {
                base = redirected(url, &response)?;
                continue;
            }
            check_answer(&response, credentials.is_some(), "advertisement")?;
            return Ok(HttpRepository {
                client: self.client.clone(),
                base,
                authorization,
                advertisement: read_refs(response, max_refs, limits).await?,
            });
        }
        Err(SourceError::Invalid("the server redirects in a circle".to_owned()))
    }
}

impl HttpRepository {
    /// Sends one round of the negotiation; the answer is to be read with [`next_piece`].
    pub(super) async fn ask(&self, body: Vec<u8>, limits: &Limits) -> Result<Response, SourceError> {
        let mut request = self
            .client
            .post(format!("{}/{SERVICE}", self.base))
            .header(ACCEPT_ENCODING, "identity")
            .header(ACCEPT, format!("application/x-{SERVICE}-result"))
            .header(CONTENT_TYPE, format!("application/x-{SERVICE}-request"))
            .body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = limits.hear(request.send()).await?.map_err(|e| failed(&e))?;
        check_answer(&response, self.authorization.is_some(), "result")?;
        Ok(response)
    }
}

/// The next bytes of an answer, counted; `None` at its end.
pub(super) async fn next_piece(response: &mut Response, limits: &Limits) -> Result<Option<Bytes>, SourceError> {
    let piece = limits.hear(response.chunk()).await?.map_err(|e| failed(&e))?;
    if let Some(piece) = &piece {
        limits.receive(piece.len())?;
    }
    Ok(piece)
}

async fn read_refs(mut response: Response, max_refs: usize, limits: &Limits) -> Result<Advertisement, SourceError> {
    let mut advertisement = Advertisement::default();
    while let Some(piece) = next_piece(&mut response, limits).await? {
        advertisement.feed(&piece, max_refs)?;
    }
    advertisement.finish()
}

fn basic(credentials: &GitCredentials) -> Result<HeaderValue, SourceError> {
    let pair = format!("{}:{}", credentials.username, credentials.password.expose_secret());
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .map_err(|_| SourceError::Auth("the credentials cannot be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The repository's new place, if it is on the same site.
fn redirected(source: &Url, response: &Response) -> Result<String, SourceError> {
    let target = response
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok())
        .and_then(|location| response.url().join(location).ok())
        .ok_or_else(|| SourceError::Unavailable("the server redirects to nowhere".to_owned()))?;
    if target.origin() != source.origin() {
        return Err(SourceError::Invalid(format!(
            "the server redirects to {}, which is not followed; if it is right, make it the source's address",
            target.origin().ascii_serialization()
        )));
    }
    target
        .path()
        .strip_suffix(REFS_PATH)
        .map(|path| format!("{}{path}", source.origin().ascii_serialization()))
        .ok_or_else(|| {
            SourceError::Invalid(
                "the server redirects to a page that is no repository; is a sign-in needed?".to_owned(),
            )
        })
}

fn check_answer(response: &Response, had_credentials: bool, kind: &str) -> Result<(), SourceError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED if !had_credentials => {
            return Err(SourceError::Auth(
                "the git server asks for credentials: the repository is private or does not exist".to_owned(),
            ));
        }
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            return Err(SourceError::Auth(format!(
                "the git server refused {} ({status})",
                if had_credentials { "the credentials" } else { "access" },
            )));
        }
        status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => {
            return Err(SourceError::NotFound(format!(
                "there is no such repository on the server, or the credentials may not see it ({status})"
            )));
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            return Err(SourceError::Unavailable(format!(
                "the git server is too busy ({})",
                response.status()
            )));
        }
        status if status.is_client_error() || status.is_redirection() => {
            return Err(SourceError::Invalid(format!("the git server answered {status}")));
        }
        status => return Err(SourceError::Unavailable(format!("the git server answered {status}"))),
    }
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    if header(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(SourceError::Unavailable(
            "the git server compressed its answer though it was asked not to".to_owned(),
        ));
    }
    if header(CONTENT_TYPE) != Some(&format!("application/x-{SERVICE}-{kind}")) {
        return Err(SourceError::Invalid(
            "the server's answer is not git's; is this the repository's clone address?".to_owned(),
        ));
    }
    Ok(())
}

/// A request that got no answer.
fn failed(error: &reqwest::Error) -> SourceError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<RefusedAddress>() {
            return SourceError::Invalid(refused.to_string());
        }
        source = cause.source();
    }
    if error.is_timeout() {
        return SourceError::Timeout("the git server could not be connected to in time".to_owned());
    }
    SourceError::Unavailable(format!("the git server cannot be reached: {}", describe(error)))
}

/// The innermost causes, which say what happened; the outer ones only repeat the address.
fn describe(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes.dedup();
    match causes.is_empty() {
        true => "the request failed".to_owned(),
        false => causes.join(": "),
    }
}
