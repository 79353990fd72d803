//! A place for what went wrong where the engine reads from us: it hears of it too, but tells it less well.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::EngineError;

/// Keeps the first fault for whoever waits for the build.
#[derive(Clone, Default)]
pub(super) struct Fault(Arc<Mutex<Option<EngineError>>>);

impl Fault {
    pub(super) fn set(&self, error: EngineError) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }

    pub(super) fn take(&self) -> Option<EngineError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
