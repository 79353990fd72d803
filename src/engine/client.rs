//! The part of the engine's interface that asks and is answered, through `bollard`: versions, names, images, containers.
//!
//! Builds and pushes go over [`super::http`] instead. A BuildKit build needs a session of our own, which `bollard` has no
//! way to hand over. Of a push `bollard` 0.21 reads neither the `id` that tells which layer a record is about nor the `aux`
//! that holds the digest; it also encodes the credentials in the wrong one of base64's alphabets.
//!
//! `bollard` sets no limit to an answer's length, so the time that a question may take is the only bound here.

use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use hyper::StatusCode;

use super::{
    EngineError,
    error::clip,
    http::{ANSWER_TIMEOUT, Address, within},
};

impl Address {
    /// A client that keeps no connection. Made for each question: it looks for the socket when it is made, and an
    /// engine may come and go.
    fn docker(&self) -> Result<Docker, EngineError> {
        let seconds = ANSWER_TIMEOUT.as_secs();
        match self {
            Self::Unix(path) => Docker::connect_with_unix(&path.to_string_lossy(), seconds, API_DEFAULT_VERSION),
            Self::Tcp { .. } => Docker::connect_with_http(&self.to_string(), seconds, API_DEFAULT_VERSION),
        }
        .map_err(|error| unreachable(self, &error))
    }

    /// Asks the engine something that it answers without much work. The outer fault is the engine's absence, the inner
    /// one its refusal.
    pub(super) async fn ask<T, F>(&self, question: impl FnOnce(Docker) -> F) -> Result<Result<T, Refusal>, EngineError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        within(ANSWER_TIMEOUT, async {
            match question(self.docker()?).await {
                Ok(answer) => Ok(Ok(answer)),
                Err(Error::DockerResponseServerError { status_code, message }) => Ok(Err(Refusal {
                    status: StatusCode::from_u16(status_code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    message: clip(&message),
                })),
                Err(error) => Err(unreachable(self, &error)),
            }
        })
        .await
    }
}

/// The engine answered, but not with what was asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    message: String,
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        Self::Unavailable(format!("the engine answered {}: {}", refusal.status, refusal.message))
    }
}

fn unreachable(address: &Address, error: &Error) -> EngineError {
    // `bollard` names the part of it that failed; why it did stands at the end of the chain.
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    EngineError::Unavailable(format!("the engine at {address} cannot be asked: {cause}"))
}

/// Bounds a question more tightly than others.
pub(super) async fn soon<T>(
    limit: Duration,
    question: impl Future<Output = Result<Result<T, Refusal>, EngineError>>,
) -> Result<T, EngineError> {
    Ok(within(limit, question).await??)
}
