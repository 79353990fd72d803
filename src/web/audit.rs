//! Writing down who did what, and by what way they came. What is written is shown to owners and administrators as it is: it
//! must never hold a secret.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use chrono::{DateTime, Utc};
use http::{header, request::Parts};

use super::{Web, visitor::Visitor};
use crate::{
    domain::audit::By,
    store::{Actor, AuditEvent},
};

/// From where a request came, for the audit log.
#[derive(Debug, Clone)]
pub struct Origin {
    by: By,
    address: String,
    now: DateTime<Utc>,
}

impl Origin {
    pub fn of(parts: &Parts, web: &Web) -> Self {
        Self {
            by: match parts.headers.contains_key(header::AUTHORIZATION) {
                true => By::Token,
                false => By::Session,
            },
            address: Visitor::of(parts).address_text(),
            now: web.clock.now(),
        }
    }

    /// Somebody who came this way; of a failed sign-in, the name that was given.
    pub fn actor(&self, name: &str) -> Actor {
        Actor {
            at: self.now,
            name: name.to_owned(),
            by: self.by,
            address: self.address.clone(),
        }
    }
}

impl FromRequestParts<Web> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Infallible> {
        Ok(Self::of(parts, web))
    }
}

impl Web {
    /// Writes down what has been done already. It is not undone if that fails; the server's log then has it.
    pub async fn note(&self, event: AuditEvent) {
        if let Err(error) = self.store.record_audit(&event).await {
            let (actor, action) = (&event.actor.name, event.action.as_str());
            tracing::error!(%error, actor, action, subject = event.subject, "failed to write to the audit log");
        }
    }
}
