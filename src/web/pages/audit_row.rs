//! One line of the audit log, in words.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::words::When;
use crate::{domain::audit::By, store::AuditEvent};

/// The fields of a row of the log, for all pages that show it.
pub struct AuditRow {
    pub when: When,
    pub actor: String,
    /// `by token`; empty for what is usual, a browser.
    pub way: &'static str,
    /// What was done, to be followed by the subject.
    pub words: &'static str,
    pub subject: String,
    /// `role: write, before: read`; may be empty.
    pub detail: String,
}

impl AuditRow {
    pub fn new(event: &AuditEvent, now: DateTime<Utc>) -> Self {
        Self {
            when: When::new(event.actor.at, now),
            actor: event.actor.name.clone(),
            way: match event.actor.by {
                By::Session => "",
                By::Token => "by token",
                By::CommandLine => "on the command line",
                By::System => "by itself",
            },
            words: event.action.words(),
            subject: event.subject.clone(),
            detail: detail(&event.detail),
        }
    }
}

fn detail(detail: &Value) -> String {
    match detail {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(self::detail).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{}: {}", name.replace('_', " "), self::detail(value)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_detail_is_read_as_words() {
        let check = |value: Value, expected: &str| assert_eq!(detail(&value), expected, "{value}");
        check(json!({}), "");
        check(
            json!({ "role": "write", "before": "read" }),
            "before: read, role: write",
        );
        check(json!({ "builds": [3, 4] }), "builds: 3 4");
        check(json!({ "password_replaced": true }), "password replaced: yes");
    }
}
