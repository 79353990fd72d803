//! Requests to registries and token services: bounded in time and size, never redirected to another host.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, IF_NONE_MATCH};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Method, Response, StatusCode};
use url::Url;

use super::retry_after::retry_after;
use super::{RegistriesConfig, RegistryError, address};

const USER_AGENT: &str = concat!("hullworks/", env!("CARGO_PKG_VERSION"));

/// Redirects that are followed in a row, all on one host.
const MAX_REDIRECTS: usize = 3;

/// What is asked of a registry.
pub(super) struct Question<'a> {
    /// Host, as images name it.
    pub(super) registry: &'a str,
    /// What follows `/v2/`.
    pub(super) path: String,
    /// Content types that are understood, where it matters.
    pub(super) accept: Option<&'static str>,
    /// A digest whose content need not be told again.
    pub(super) known: Option<&'a str>,
}

pub(super) fn client(config: &RegistriesConfig) -> Result<Client, RegistryError> {
    Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(config.connect_timeout)
        .redirect(Policy::custom(stay_on_host))
        .referer(false)
        .build()
        .map_err(|error| RegistryError::unavailable(format!("no registry can be asked: {}", root_cause(&error))))
}

/// Sends a question, over `https` and, where that cannot be had and is not demanded, over `http`.
pub(super) async fn ask(
    client: &Client,
    insecure: &[String],
    method: Method,
    question: &Question<'_>,
    authorization: Option<&HeaderValue>,
) -> Result<Response, RegistryError> {
    let registry = question.registry;
    let bases = address::bases(registry, insecure)?;
    let mut bases = bases.iter().peekable();
    while let Some(base) = bases.next() {
        let url = Url::parse(&format!("{base}{}", question.path))
            .map_err(|_| RegistryError::Malformed(format!("{registry} has no address for {}", question.path)))?;
        let mut request = client.request(method.clone(), url);
        if let Some(accept) = question.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(known) = question.known {
            request = request.header(IF_NONE_MATCH, format!("\"{known}\""));
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        match request.send().await {
            Err(error) if error.is_connect() && bases.peek().is_some() => {}
            answer => return answer.map_err(|error| unreachable(registry, &error)),
        }
    }
    Err(RegistryError::Malformed(format!("{registry} has no address")))
}

/// Bounds a question with everything that it takes: redirects, tokens, bodies.
pub(super) async fn within<T>(
    limit: Duration,
    registry: &str,
    question: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    tokio::time::timeout(limit, question).await.unwrap_or_else(|_| {
        Err(RegistryError::unavailable(format!(
            "{registry} did not answer within {limit:?}"
        )))
    })
}

/// What an answer other than the one hoped for means. `wanted` is what was asked for, for the message.
pub(super) fn failure(host: &str, wanted: &str, answer: &Response) -> RegistryError {
    let status = answer.status();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            RegistryError::Refused(format!("{host} refuses access to {wanted} ({status})"))
        }
        StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited {
            registry: host.to_owned(),
            retry_after: retry_after(answer.headers()),
        },
        status if status == StatusCode::REQUEST_TIMEOUT || status.is_server_error() => RegistryError::Unavailable {
            reason: format!("{host} answered {status}"),
            retry_after: retry_after(answer.headers()),
        },
        status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => RegistryError::Malformed(format!(
            "{host} redirects to another host or in a circle when asked for {wanted}, which is not followed"
        )),
        status => RegistryError::Malformed(format!("{host} answered {status} when asked for {wanted}")),
    }
}

/// Hands a body to `take` piece by piece. One longer than `limit` bytes is an error, as early as that is known.
pub(super) async fn read_body(
    host: &str,
    mut answer: Response,
    limit: usize,
    mut take: impl FnMut(&[u8]),
) -> Result<(), RegistryError> {
    let mut left = limit;
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreachable(host, &error))? {
        left = left
            .checked_sub(chunk.len())
            .ok_or_else(|| RegistryError::Malformed(format!("{host} answered with more than {} KiB", limit / 1024)))?;
        take(&chunk);
    }
    Ok(())
}

pub(super) fn unreachable(host: &str, error: &reqwest::Error) -> RegistryError {
    RegistryError::unavailable(format!("{host} could not be asked: {}", root_cause(error)))
}

/// The innermost error: the outer ones only say that sending failed, and repeat the address.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn stay_on_host(attempt: Attempt) -> Action {
    let before = attempt.previous();
    let stays = before
        .last()
        .is_some_and(|from| from.origin() == attempt.url().origin());
    if stays && before.len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}
