//! Log records of the service, on stderr: lines for people on a terminal, JSON objects elsewhere.
//!
//! Whatever a field holds, one event is one line: nothing from outside may forge a record.

use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::config::LogFormat;

/// A filter that cannot be understood, or records that are set up twice.
#[derive(Debug, thiserror::Error)]
#[error("log: {0}")]
pub struct TelemetryError(String);

/// Quiet where `info` of a library is our `debug`: each statement is one to sqlx.
const LIBRARIES: [&str; 4] = ["sqlx=warn", "hyper=warn", "h2=warn", "tonic=warn"];

/// Directs this process's records to stderr. `filter` is a level, or `tracing_subscriber`'s directives such as
/// `hullworks=debug,sqlx=info`, which win over the defaults for libraries.
pub fn init(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let filter = parse_filter(filter)?;
    let set = match json {
        true => tracing::subscriber::set_global_default(json_subscriber(filter, std::io::stderr)),
        false => tracing::subscriber::set_global_default(text_subscriber(filter, std::io::stderr)),
    };
    set.map_err(|error| TelemetryError(error.to_string()))
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let directives = [LIBRARIES.join(",").as_str(), filter].join(",");
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(directives)
        .map_err(|_| {
            TelemetryError(format!(
                "`{}` is neither a level (error, warn, info, debug, trace) nor a list of target=level",
                filter.escape_debug()
            ))
        })
}

fn json_subscriber<W>(filter: EnvFilter, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_env_filter(filter)
        .with_writer(writer)
        .finish()
}

fn text_subscriber<W>(filter: EnvFilter, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter)
        .with_writer(OneLine(writer))
        .finish()
}

/// Keeps each record on its line. Records arrive whole, one per `write`, with the line end last.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = record.strip_suffix(b"\n").unwrap_or(record);
        let mut line = Vec::with_capacity(record.len());
        for &byte in text {
            match byte {
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                byte => line.push(byte),
            }
        }
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        fn writer(&self) -> impl Fn() -> Self + Send + Sync + 'static {
            let sink = self.clone();
            move || sink.clone()
        }
    }

    const FORGED: &str = "a\r\n2026-01-01T00:00:00Z  INFO forged\n{\"level\":\"INFO\"}";

    #[test]
    fn line_ends_in_fields_and_messages_forge_no_record() {
        let (text, json) = (Sink::default(), Sink::default());
        let log = || tracing::info!(user = FORGED, shown = %FORGED, "signed in as {FORGED}");
        tracing::subscriber::with_default(text_subscriber(parse_filter("info").unwrap(), text.writer()), log);
        tracing::subscriber::with_default(json_subscriber(parse_filter("info").unwrap(), json.writer()), log);
        assert_eq!(text.text().lines().count(), 1, "{}", text.text());
        assert!(!text.text().contains('\r'));
        assert_eq!(json.text().lines().count(), 1, "{}", json.text());
        let record: serde_json::Value = serde_json::from_str(&json.text()).unwrap();
        assert_eq!(record["user"], FORGED);
        assert_eq!(record["shown"], FORGED);
    }

    #[test]
    fn a_statement_is_logged_only_when_asked_for() {
        let check = |filter: &str, expected: usize| {
            let sink = Sink::default();
            tracing::subscriber::with_default(text_subscriber(parse_filter(filter).unwrap(), sink.writer()), || {
                tracing::info!(target: "sqlx", "select 1");
                tracing::info!("ours");
                tracing::debug!("ours, in detail");
            });
            assert_eq!(sink.text().lines().count(), expected, "{filter}: {}", sink.text());
        };
        check("info", 1);
        check("debug", 2);
        check("warn", 0);
        check("info,sqlx=info", 2);
    }

    #[test]
    fn a_filter_that_cannot_be_understood_is_refused_by_name() {
        let message = parse_filter("hullworks=loud").unwrap_err().to_string();
        assert!(message.contains("hullworks=loud"), "{message}");
    }
}
