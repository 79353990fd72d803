//! Why an attempt does not get to its end, by what happens next.

use crate::{
    domain::{
        build::{ErrorKind, Failure},
        ids::BuildId,
    },
    engine::EngineError,
    store::{LeaseLost, StoreError},
};

/// Why an attempt did not get to its end.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The build fails, for this reason.
    Fails(Failure),
    /// It will pass: the build is tried again later.
    Passes { why: String },
    /// A newer build holds the tags.
    Superseded { by: BuildId },
    /// The attempt was told to stop, or can write no more.
    Stopped,
}

impl Fault {
    pub(super) fn fails(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Fails(Failure::new(kind, message))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Passes { why: error.to_string() }
    }
}

impl From<LeaseLost> for Fault {
    fn from(lost: LeaseLost) -> Self {
        match lost {
            LeaseLost::Lost => Self::Stopped,
            LeaseLost::Store(error) => error.into(),
        }
    }
}

/// What the engine's faults mean for the build.
pub(super) fn engine_fault(error: EngineError) -> Fault {
    match error {
        EngineError::Dockerfile(message) => Fault::fails(ErrorKind::Dockerfile, message),
        EngineError::Step(message) => Fault::fails(ErrorKind::Build, message),
        EngineError::Refused(message) | EngineError::Registry(message) => Fault::fails(ErrorKind::Registry, message),
        EngineError::Unavailable(message) | EngineError::Source(message) => Fault::Passes { why: message },
        EngineError::Canceled => Fault::Stopped,
    }
}
