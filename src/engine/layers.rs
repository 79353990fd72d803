//! The many progress records of a pull or push, condensed to a line for each change of a layer's state.

use std::collections::HashMap;

use super::{error::clip, messages::Record};

/// Most layers that are followed; an image has at most 127.
const MAX_LAYERS: usize = 1000;

/// States that are told by every record of a transfer, hundreds of times.
const MOVING: [&str; 3] = ["Pushing", "Downloading", "Extracting"];

/// The last state of each layer.
#[derive(Default)]
pub(super) struct Layers(HashMap<String, String>);

impl Layers {
    /// The line for a record, if it tells something new.
    pub(super) fn line(&mut self, record: &Record) -> Option<String> {
        let status = clip(record.status.as_deref()?);
        if status.is_empty() {
            return None;
        }
        let Some(id) = record.id.as_deref().map(clip).filter(|id| !id.is_empty()) else {
            return Some(status);
        };
        if self.0.get(&id) == Some(&status) || self.0.len() >= MAX_LAYERS {
            return None;
        }
        let total = record
            .progress_detail
            .as_ref()
            .and_then(|detail| detail.total)
            .filter(|&total| total > 0);
        let line = match total {
            Some(total) if MOVING.contains(&status.as_str()) => format!("{id}: {status} {total} bytes"),
            _ => format!("{id}: {status}"),
        };
        self.0.insert(id, status);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_told_once_for_each_state() {
        let mut layers = Layers::default();
        let mut line = |json: &str| layers.line(&serde_json::from_str(json).unwrap());
        assert_eq!(
            line(r#"{"status":"The push refers to repository [r]"}"#).unwrap(),
            "The push refers to repository [r]"
        );
        assert_eq!(
            line(r#"{"status":"Preparing","progressDetail":{},"id":"a"}"#).unwrap(),
            "a: Preparing"
        );
        let tick = r#"{"status":"Pushing","progressDetail":{"current":1,"total":9},"id":"a"}"#;
        assert_eq!(line(tick).unwrap(), "a: Pushing 9 bytes");
        assert_eq!(line(tick), None);
        assert_eq!(
            line(r#"{"status":"Pushed","progressDetail":{},"id":"a"}"#).unwrap(),
            "a: Pushed"
        );
        assert_eq!(line(r#"{"aux":{}}"#), None);
    }
}
