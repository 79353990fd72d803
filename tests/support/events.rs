//! A log as a stream of server-sent events, as a browser would read it.

use std::{collections::VecDeque, time::Duration};

/// How long the next event may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: String,
}

/// An open stream.
pub struct Events {
    response: reqwest::Response,
    /// What came and has not ended yet.
    rest: Vec<u8>,
    ready: VecDeque<Event>,
}

impl Events {
    pub(super) fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"]
            .to_str()
            .expect("a media type")
            .to_owned();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self {
            response,
            rest: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next event; `None` after the stream's end.
    pub async fn next(&mut self) -> Option<Event> {
        while self.ready.is_empty() {
            let piece = tokio::time::timeout(PATIENCE, self.response.chunk())
                .await
                .expect("an event in time")
                .expect("an unbroken stream")?;
            self.rest.extend_from_slice(&piece);
            while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                let rest = self.rest.split_off(end + 2);
                let event = std::mem::replace(&mut self.rest, rest);
                self.ready
                    .extend(parse(str::from_utf8(&event).expect("events are UTF-8")));
            }
        }
        self.ready.pop_front()
    }

    /// Everything up to the stream's end.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// The text that events carry, joined.
pub fn text_of(events: &[Event]) -> String {
    let pieces = events.iter().filter(|event| event.name == "log");
    pieces.map(|event| event.data.as_str()).collect()
}

/// `None` for what is no event, such as the comments that keep a connection alive.
fn parse(text: &str) -> Option<Event> {
    let mut event = Event {
        name: "message".to_owned(),
        id: String::new(),
        data: String::new(),
    };
    let mut data: Vec<&str> = Vec::new();
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.name = value.to_owned(),
            "id" => event.id = value.to_owned(),
            "data" => data.push(value),
            _ => {}
        }
    }
    event.data = data.join("\n");
    (!data.is_empty()).then_some(event)
}
