//! The stream of JSON records that the engine answers builds and pushes with.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;
use bytes::{Buf, BytesMut};
use chrono::{DateTime, Utc};
use prost::Message as _;
use serde::Deserialize;

use super::{error::EngineError, http::Exchange};

/// Longest record, in bytes; the classic builder packs a burst of output into one.
const MAX_RECORD: usize = 32 << 20;

/// One record. Every field is absent in most of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Record {
    /// Tells how `aux` is to be read, or which layer `status` is about.
    pub(super) id: Option<String>,
    /// Output of the classic builder.
    pub(super) stream: Option<String>,
    pub(super) status: Option<String>,
    pub(super) progress_detail: Option<ProgressDetail>,
    pub(super) aux: Option<serde_json::Value>,
    pub(super) error: Option<String>,
    pub(super) error_detail: Option<ErrorDetail>,
}

/// Bytes of a layer that is being moved.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProgressDetail {
    pub(super) total: Option<i64>,
}

/// The error that ended the stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorDetail {
    pub(super) message: String,
}

impl Record {
    /// The message of an error, if this record is one.
    pub(super) fn error(&self) -> Option<&str> {
        let detail = self
            .error_detail
            .as_ref()
            .map(|detail| detail.message.as_str())
            .filter(|text| !text.is_empty());
        detail.or(self.error.as_deref())
    }

    /// The id of the image that was built, if this record tells it.
    pub(super) fn image_id(&self) -> Option<String> {
        if !matches!(self.id.as_deref(), None | Some("moby.image.id")) {
            return None;
        }
        let id = self.aux.as_ref()?.get("ID")?.as_str()?;
        crate::domain::image::is_valid_digest(id).then(|| id.to_owned())
    }

    /// BuildKit's own report, if this record carries one.
    pub(super) fn trace(&self) -> Option<StatusResponse> {
        if self.id.as_deref() != Some("moby.buildkit.trace") {
            return None;
        }
        let bytes = STANDARD.decode(self.aux.as_ref()?.as_str()?).ok()?;
        StatusResponse::decode(bytes.as_slice()).ok()
    }
}

/// Cuts an answer's body into records.
pub(super) struct Records {
    exchange: Exchange,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line's end.
    searched: usize,
}

impl Records {
    pub(super) fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// The engine's time when it began to answer.
    pub(super) fn date(&self) -> Option<DateTime<Utc>> {
        let date = self.exchange.response.headers().get("date")?.to_str().ok()?;
        DateTime::parse_from_rfc2822(date).ok().map(|date| date.to_utc())
    }

    /// The next record; `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Record>, EngineError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|&c| c == b'\n') {
                let line = self.buffer.split_to(self.searched + at);
                self.buffer.advance(1);
                self.searched = 0;
                if let Some(record) = parse(&line)? {
                    return Ok(Some(record));
                }
                continue;
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_RECORD {
                return Err(EngineError::Unavailable("the engine sent an endless record".to_owned()));
            }
            match self.exchange.next().await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => {
                    self.searched = 0;
                    return parse(&self.buffer.split());
                }
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<Option<Record>, EngineError> {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(line)
        .map(Some)
        .map_err(|error| EngineError::Unavailable(format!("the engine sent a record that cannot be read: {error}")))
}
