//! Server-sent events (WHATWG HTML, section 9.2), as far as a log needs them.

/// Longest event, in bytes; what is longer is not the log of our server.
const MAX_EVENT: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// `message` where the server names none.
    pub name: String,
    /// Where to resume: the latest id so far, this event's or an earlier one's.
    pub id: Option<String>,
    /// The data lines, joined by line ends.
    pub data: String,
}

/// An event that has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sends an event without an end")]
pub struct EventTooLong;

/// Takes a stream in pieces and gives its events.
#[derive(Debug, Default)]
pub struct EventParser {
    line: Vec<u8>,
    /// A line ended with CR: an LF that follows belongs to it.
    after_carriage_return: bool,
    name: String,
    id: Option<String>,
    data: Option<String>,
}

impl EventParser {
    /// The events that end within this piece.
    pub fn feed(&mut self, piece: &[u8]) -> Result<Vec<Event>, EventTooLong> {
        let mut events = Vec::new();
        for &byte in piece {
            let was_after_carriage_return = std::mem::replace(&mut self.after_carriage_return, byte == b'\r');
            match byte {
                b'\n' if was_after_carriage_return => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    events.extend(self.take_line(&String::from_utf8_lossy(&line)));
                }
                byte => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > MAX_EVENT {
                return Err(EventTooLong);
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = self.data.take()?;
            let name = if name.is_empty() { "message".to_owned() } else { name };
            return Some(Event {
                name,
                id: self.id.clone(),
                data,
            });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, which keeps the connection alive, or a field of no use here.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, id: Option<&str>, data: &str) -> Event {
        Event {
            name: name.to_owned(),
            id: id.map(str::to_owned),
            data: data.to_owned(),
        }
    }

    fn check(stream: &str, expected: &[Event]) {
        assert_eq!(
            EventParser::default().feed(stream.as_bytes()).unwrap(),
            expected,
            "{stream:?}"
        );
        let mut parser = EventParser::default();
        let single: Vec<_> = stream.bytes().flat_map(|byte| parser.feed(&[byte]).unwrap()).collect();
        assert_eq!(single, expected, "{stream:?}, byte by byte");
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        check(
            "event: log\nid: 7\ndata: a\ndata: b\ndata:\n\n",
            &[event("log", Some("7"), "a\nb\n")],
        );
        check(
            ": keep-alive\n\ndata:x\r\n\r\ndata: y\r\r",
            &[event("message", None, "x"), event("message", None, "y")],
        );
        check(
            "id: 3\ndata: a\n\ndata: b\n\n",
            &[event("message", Some("3"), "a"), event("message", Some("3"), "b")],
        );
        check(
            "data:  two spaces, one stays: ✓\n\n",
            &[event("message", None, " two spaces, one stays: ✓")],
        );
        check("event: end\n\ndata: cut", &[]);
        check("data\n\n", &[event("message", None, "")]);
    }

    #[test]
    fn an_event_without_an_end_is_refused() {
        let mut parser = EventParser::default();
        assert_eq!(parser.feed(&vec![b'x'; MAX_EVENT + 1]), Err(EventTooLong));
    }
}
