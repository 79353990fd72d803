//! Follows builds to their ends: the log as it grows, and the outcome.
//!
//! A lost connection is made again from where the log was; only what cannot pass ends the following.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout_at},
};

use super::{
    builds::describe_outcome,
    client::{Client, ClientError},
    failure::Failure,
    output::{Output, note, notes_have_colours},
    progress::StatusLine,
    sse::EventParser,
};
use crate::clock::Clock;

/// How long a server that does not answer is waited for, from its last answer on: long enough for a restart.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often the state is asked for.
const POLL: Duration = Duration::from_secs(1);

/// Longest unfinished line that is held back on a terminal, in bytes.
const MAX_HELD: usize = 64 << 10;

/// What is shown of the builds that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    Log,
    /// Only the outcome, by the caller.
    Nothing,
}

/// Follows builds one after the other; gives their last documents, in the same order.
///
/// Ctrl-C ends the following, not the builds.
pub async fn follow_all(
    client: &Client,
    builds: &[String],
    show: Show,
    out: &mut Output,
) -> Result<Vec<Value>, Failure> {
    // Listened for from here on: a Ctrl-C right after the first request must not end the process without a word.
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| Failure::Failed(format!("Ctrl-C cannot be listened for: {error}")))?;
    let following = async {
        let mut ended = Vec::with_capacity(builds.len());
        for build in builds {
            let document = follow(client, build, show, out).await?;
            note(&describe_outcome(&document, notes_have_colours()));
            ended.push(document);
        }
        Ok(ended)
    };
    tokio::select! {
        ended = following => ended,
        _ = interrupts.recv() => {
            note("stopped following; what is queued or running goes on");
            for build in builds {
                note(&format!("to cancel it: hullworks cancel {build}"));
            }
            Err(Failure::Interrupted)
        }
    }
}

/// Done if every build succeeded, or there was nothing for it to do.
pub fn verdict(builds: &[Value]) -> Result<(), Failure> {
    let all_well = builds
        .iter()
        .all(|build| matches!(build["status"].as_str(), Some("succeeded" | "skipped")));
    if all_well { Ok(()) } else { Err(Failure::EndedBadly) }
}

/// Follows one build to its end and gives its last document.
async fn follow(client: &Client, build: &str, show: Show, out: &mut Output) -> Result<Value, Failure> {
    let line = Line {
        status: StatusLine::new(),
        held: Vec::new(),
        out,
    };
    let mut follower = Follower {
        client,
        build,
        line,
        last_event: None,
        retry: Retry::new(),
    };
    let document = match show {
        Show::Log => follower.log_and_outcome().await,
        Show::Nothing => follower.outcome().await,
    };
    let released = follower.line.release();
    follower.line.status.clear();
    released?;
    document
}

struct Follower<'a> {
    client: &'a Client,
    build: &'a str,
    line: Line<'a>,
    last_event: Option<String>,
    retry: Retry,
}

/// Whether the server said that the log has ended.
#[derive(PartialEq, Eq)]
enum Stream {
    Ended,
    Broken,
}

impl Follower<'_> {
    async fn log_and_outcome(&mut self) -> Result<Value, Failure> {
        // The first answer tells whether there is such a build.
        let build = self.document().await?;
        self.line.status.aside(|| note(&heading(&build)));
        self.line.status.show(&build, Clock::system().now());
        loop {
            let before = self.last_event.clone();
            if self.stream_once().await? == Stream::Ended {
                break;
            }
            let build = self.document().await?;
            // A log that ended without saying so brings nothing more, however often it is asked for.
            if has_ended(&build) && self.last_event == before {
                break;
            }
            sleep(FIRST_PAUSE).await;
        }
        self.outcome().await
    }

    /// Waits for the build's end.
    async fn outcome(&mut self) -> Result<Value, Failure> {
        loop {
            let build = self.document().await?;
            self.line.status.show(&build, Clock::system().now());
            if has_ended(&build) {
                return Ok(build);
            }
            sleep(POLL).await;
        }
    }

    async fn document(&mut self) -> Result<Value, Failure> {
        loop {
            match self.client.get(&["builds", self.build], &[]).await {
                Ok(build) => {
                    self.retry = Retry::new();
                    return Ok(build);
                }
                Err(error) if error.may_pass() => self.retry.pause(error).await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Shows the log from where it was until the connection ends.
    async fn stream_once(&mut self) -> Result<Stream, Failure> {
        let response = match self.client.log_events(self.build, self.last_event.as_deref()).await {
            Ok(response) => response,
            Err(error) if error.may_pass() => return Ok(Stream::Broken),
            Err(error) => return Err(error.into()),
        };
        let mut pieces = response.bytes_stream();
        let mut parser = EventParser::default();
        let mut next_poll = Instant::now() + POLL;
        loop {
            let piece = match timeout_at(next_poll, pieces.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(_)) | None) => return Ok(Stream::Broken),
                Err(_) => {
                    next_poll = Instant::now() + POLL;
                    if let Ok(build) = self.client.get(&["builds", self.build], &[]).await {
                        self.line.status.show(&build, Clock::system().now());
                    }
                    continue;
                }
            };
            for event in parser.feed(&piece).map_err(|error| Failure::caused_by(&error))? {
                self.last_event = event.id.or(self.last_event.take());
                match event.name.as_str() {
                    "log" | "message" => self.line.print(event.data.as_bytes())?,
                    "end" => return Ok(Stream::Ended),
                    _ => {}
                }
            }
        }
    }
}

/// Which build is followed, in one line.
fn heading(build: &Value) -> String {
    let text = |key: &str| build[key].as_str().unwrap_or_default();
    let heading = format!(
        "==> {} #{}: {} {}  {}",
        text("repository"),
        build["number"],
        text("source_type"),
        text("source_name"),
        text("id"),
    );
    heading.replace(char::is_control, " ")
}

fn has_ended(build: &Value) -> bool {
    !matches!(build["status"].as_str(), Some("queued" | "running"))
}

/// Log and status line on one terminal.
struct Line<'a> {
    status: StatusLine,
    /// A line that has not ended, while the status line stands where it would go on.
    held: Vec<u8>,
    out: &'a mut Output,
}

impl Line<'_> {
    fn print(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if !self.out.is_terminal() {
            self.out.foreign(bytes)?;
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        let whole = match self.held.iter().rposition(|&byte| byte == b'\n') {
            Some(end) => end + 1,
            None if self.held.len() > MAX_HELD => self.held.len(),
            None => return Ok(()),
        };
        let lines: Vec<u8> = self.held.drain(..whole).collect();
        self.status.aside(|| self.out.foreign(&lines))?;
        Ok(())
    }

    /// Prints what is held back, with a line end, and ends the colours of the log.
    fn release(&mut self) -> Result<(), Failure> {
        if !self.held.is_empty() {
            self.print(b"\n")?;
        }
        self.status.aside(|| self.out.end_of_foreign())?;
        Ok(())
    }
}

/// Growing pauses between attempts, up to an end.
struct Retry {
    pause: Duration,
    until: Instant,
}

impl Retry {
    fn new() -> Self {
        Self {
            pause: FIRST_PAUSE,
            until: Instant::now() + PATIENCE,
        }
    }

    async fn pause(&mut self, error: ClientError) -> Result<(), Failure> {
        if Instant::now() >= self.until {
            return Err(error.into());
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_verdict_is_good_only_if_every_build_ended_well() {
        let of = |statuses: &[&str]| {
            let builds: Vec<Value> = statuses.iter().map(|status| json!({ "status": status })).collect();
            verdict(&builds).is_ok()
        };
        assert!(of(&[]) && of(&["succeeded", "skipped"]));
        for bad in ["failed", "canceled", "superseded"] {
            assert!(!of(&["succeeded", bad]), "{bad}");
        }
    }
}
