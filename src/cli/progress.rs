//! The live line under a followed log, on a terminal.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use chrono::{DateTime, Utc};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::terminal::Sanitiser;

/// How often the line moves.
const TICK: Duration = Duration::from_millis(120);

/// A line that says what a build does; nothing where stderr is no terminal.
pub struct StatusLine(ProgressBar);

impl StatusLine {
    pub fn new() -> Self {
        if !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    pub fn show(&self, build: &Value, now: DateTime<Utc>) {
        let harmless = Sanitiser::default().feed(describe(build, now).as_bytes());
        self.0.set_message(String::from_utf8_lossy(&harmless).into_owned());
    }

    /// Does something that writes to the terminal, with the line out of the way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }

    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for StatusLine {
    /// An interrupted following leaves no line that still moves.
    fn drop(&mut self) {
        self.clear();
    }
}

/// State, phase, time, what a queued one waits for and current step, as far as they are known.
fn describe(build: &Value, now: DateTime<Utc>) -> String {
    let text = |key: &str| build[key].as_str().unwrap_or_default();
    let mut parts = vec![match build["phase"].as_str() {
        Some(phase) => format!("{}: {phase}", text("status")),
        None => text("status").to_owned(),
    }];
    let since = [text("started_at"), text("queued_at")]
        .into_iter()
        .find_map(|time| time.parse::<DateTime<Utc>>().ok());
    if let Some(since) = since {
        let seconds = (now - since).num_seconds().max(0);
        parts.push(format!("{}:{:02}", seconds / 60, seconds % 60));
    }
    if let Some(what) = build["waiting_for"].as_str() {
        parts.push(format!("waiting: {}", what.replace(char::is_control, " ")));
    }
    let steps = build["steps"].as_array().into_iter().flatten();
    let current = steps
        .rev()
        .find(|step| step["started_at"].is_string() && step["finished_at"].is_null());
    if let Some(name) = current.and_then(|step| step["name"].as_str()) {
        parts.push(name.replace(char::is_control, " "));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_line_says_what_is_known() {
        let now: DateTime<Utc> = "2026-01-01T00:02:05Z".parse().unwrap();
        let check = |build: Value, expected: &str| assert_eq!(describe(&build, now), expected);
        check(
            json!({"status": "queued", "phase": null, "queue_position": 3, "waiting_for": "2 builds before it",
                "queued_at": "2026-01-01T00:02:00Z"}),
            "queued  0:05  waiting: 2 builds before it",
        );
        check(
            json!({"status": "running", "phase": "build", "queue_position": null, "started_at": "2026-01-01T00:00:00Z",
                "steps": [
                    {"name": "[1/2] FROM x", "started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z"},
                    {"name": "[2/2] RUN\nmake", "started_at": "2026-01-01T00:00:01Z", "finished_at": null}]}),
            "running: build  2:05  [2/2] RUN make",
        );
        check(json!({}), "");
    }
}
