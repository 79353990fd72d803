//! How a form is answered: people are led to the page that shows what came of it, and our own script, which stays on the page
//! it is on, gets the same words as JSON.

use std::convert::Infallible;

use axum::{
    Json,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{header, request::Parts};
use serde_json::json;

use super::{notice::Notice, page};
use crate::web::Web;

/// Whom to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Page,
    Script,
}

impl FromRequestParts<Web> for Answer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Infallible> {
        let accept = parts.headers.get(header::ACCEPT);
        Ok(match accept.is_some_and(|accept| accept == "application/json") {
            true => Self::Script,
            false => Self::Page,
        })
    }
}

impl Answer {
    /// Says what was done; people read it on the page at `path`.
    pub fn done(self, path: &str, notice: &Notice) -> Response {
        match self {
            Self::Page => page::done(path, notice),
            Self::Script => Json(json!({ "notice": notice.text, "tone": notice.tone.as_str() })).into_response(),
        }
    }
}
