//! Turns BuildKit's reports into lines for people and a list of steps for the page.
//!
//! A report is a set of changes to vertices (steps), their statuses (transfers) and their output; each may come in any
//! number of pieces and in any order. Lines look like those of `docker build --progress=plain`.

use std::{collections::HashMap, fmt::Write as _};

use bollard_buildkit_proto::{
    google::protobuf::Timestamp,
    moby::buildkit::v1::{StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning},
};
use chrono::{DateTime, Utc};

use crate::domain::{build::Step, image::ImageReference, progress::Progress};

/// How BuildKit begins an image's address.
const IMAGE_SCHEME: &str = "docker-image://";

/// Most steps that are followed; what a longer Dockerfile does beyond them shows in the log's errors alone.
const MAX_STEPS: usize = 2000;

/// Longest step name and error in the list of steps, in bytes.
const MAX_NAME: usize = 1000;

/// A line of output that is longer is shown in pieces, in bytes.
const MAX_LINE: usize = 16 << 10;

/// What BuildKit has told of one build so far.
#[derive(Default)]
pub(super) struct Trace {
    steps: Vec<Tracked>,
    by_digest: HashMap<String, usize>,
    /// Images that were named since they were asked for last.
    images: Vec<ImageReference>,
}

/// One vertex.
struct Tracked {
    step: Step,
    announced: bool,
    closed: bool,
    /// Output that has no line's end yet.
    partial: Vec<u8>,
    partial_at: Option<DateTime<Utc>>,
}

impl Trace {
    /// Takes one report in and tells `progress` what is new.
    pub(super) fn report(&mut self, report: &StatusResponse, progress: &dyn Progress) {
        let mut text = Vec::new();
        for vertex in &report.vertexes {
            self.begin(vertex, &mut text);
        }
        for status in &report.statuses {
            self.status(status, &mut text);
        }
        for log in &report.logs {
            self.output(log, &mut text);
        }
        for warning in &report.warnings {
            self.warning(warning, &mut text);
        }
        for vertex in &report.vertexes {
            self.end(vertex, &mut text);
        }
        if !text.is_empty() {
            progress.write(&text);
        }
        if !report.vertexes.is_empty() {
            progress.steps(self.steps());
        }
    }

    /// The images that BuildKit has named since the last call, with the digests that it resolved.
    pub(super) fn take_images(&mut self) -> Vec<ImageReference> {
        std::mem::take(&mut self.images)
    }

    /// The steps that have begun, in the order of their numbers in the log.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps
            .iter()
            .filter(|tracked| tracked.announced)
            .map(|tracked| tracked.step.clone())
            .collect()
    }

    /// The name of the step that failed first, if one that runs a program did.
    pub(super) fn failed_step(&self) -> Option<&str> {
        let failed = |tracked: &&Tracked| tracked.step.error.as_deref().is_some_and(|error| !is_canceled(error));
        self.steps.iter().find(failed).map(|tracked| tracked.step.name.as_str())
    }

    fn begin(&mut self, vertex: &Vertex, text: &mut Vec<u8>) {
        let index = match self.by_digest.get(&vertex.digest) {
            Some(&index) => index,
            None if self.steps.len() >= MAX_STEPS => return,
            None => {
                self.images.extend(image_of(&vertex.name));
                self.steps.push(Tracked {
                    step: Step {
                        name: one_line(&vertex.name),
                        started_at: None,
                        finished_at: None,
                        cached: false,
                        error: None,
                    },
                    announced: false,
                    closed: false,
                    partial: Vec::new(),
                    partial_at: None,
                });
                self.by_digest.insert(vertex.digest.clone(), self.steps.len() - 1);
                self.steps.len() - 1
            }
        };
        let tracked = &mut self.steps[index];
        // A vertex may be run again for another part of the graph; its first start counts.
        tracked.step.started_at = tracked.step.started_at.or_else(|| time(vertex.started.as_ref()));
        tracked.step.cached |= vertex.cached;
        if (vertex.started.is_some() || vertex.cached || !vertex.error.is_empty()) && !tracked.announced {
            tracked.announced = true;
            line(text, index, &tracked.step.name);
        }
    }

    fn end(&mut self, vertex: &Vertex, text: &mut Vec<u8>) {
        let Some(&index) = self.by_digest.get(&vertex.digest) else {
            return;
        };
        let tracked = &mut self.steps[index];
        let finished = time(vertex.completed.as_ref());
        if finished.is_none() {
            // It runs again: what its last end said does not hold.
            if vertex.started.is_some() {
                tracked.closed = false;
            }
            return;
        }
        tracked.step.finished_at = finished;
        flush(tracked, index, text);
        if tracked.closed || !tracked.announced {
            return;
        }
        tracked.closed = true;
        if !vertex.error.is_empty() {
            tracked.step.error = Some(one_line(&vertex.error));
            match is_canceled(&vertex.error) {
                true => line(text, index, "CANCELED"),
                false => line(text, index, &format!("ERROR: {}", one_line(&vertex.error))),
            }
        } else if tracked.step.cached {
            line(text, index, "CACHED");
        } else {
            let seconds = match (tracked.step.started_at, finished) {
                (Some(from), Some(to)) => seconds(from, to),
                _ => 0.0,
            };
            line(text, index, &format!("DONE {seconds:.1}s"));
        }
    }

    fn status(&mut self, status: &VertexStatus, text: &mut Vec<u8>) {
        // Of a transfer only its end is worth a line.
        if let (Some(&index), Some(_)) = (self.by_digest.get(&status.vertex), &status.completed) {
            let mut words = one_line(if status.name.is_empty() {
                &status.id
            } else {
                &status.name
            });
            match (status.current, status.total) {
                (current, 0) if current > 0 => write!(words, " {}", size(current)),
                (current, total) if total > 0 => write!(words, " {} / {}", size(current), size(total)),
                _ => Ok(()),
            }
            .unwrap_or_default();
            line(text, index, &format!("{words} done"));
        }
    }

    fn output(&mut self, log: &VertexLog, text: &mut Vec<u8>) {
        let Some(&index) = self.by_digest.get(&log.vertex) else {
            return;
        };
        let tracked = &mut self.steps[index];
        tracked.partial_at = time(log.timestamp.as_ref());
        let mut rest = log.msg.as_slice();
        while !rest.is_empty() {
            let room = MAX_LINE.saturating_sub(tracked.partial.len());
            let window = &rest[..room.min(rest.len())];
            match window.iter().position(|&c| c == b'\n') {
                Some(end) => {
                    tracked.partial.extend_from_slice(&window[..end]);
                    emit(tracked, index, text);
                    rest = &rest[end + 1..];
                }
                None => {
                    tracked.partial.extend_from_slice(window);
                    rest = &rest[window.len()..];
                    if tracked.partial.len() >= MAX_LINE {
                        emit(tracked, index, text);
                    }
                }
            }
        }
    }

    fn warning(&mut self, warning: &VertexWarning, text: &mut Vec<u8>) {
        if let Some(&index) = self.by_digest.get(&warning.vertex) {
            line(
                text,
                index,
                &format!("WARNING: {}", one_line(&String::from_utf8_lossy(&warning.short))),
            );
        }
    }
}

/// The image that a vertex loads, by its name: `[build 1/3] FROM docker.io/library/alpine:3.20@sha256:...`,
/// `[internal] load metadata for docker.io/library/alpine:3.20`, and for a frontend `resolve image config for
/// docker.io/docker/dockerfile:1` and `docker-image://docker.io/docker/dockerfile:1@sha256:...`.
fn image_of(name: &str) -> Option<ImageReference> {
    let command = match name.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((_, command)) => command,
        None => name,
    };
    let image = ["FROM ", "load metadata for ", "resolve image config for "]
        .into_iter()
        .find_map(|words| command.strip_prefix(words))
        .or_else(|| command.starts_with(IMAGE_SCHEME).then_some(command))?;
    let image = image.strip_prefix(IMAGE_SCHEME).unwrap_or(image);
    let is_none = image == "scratch";
    ImageReference::parse(image).ok().filter(|_| !is_none)
}

/// Writes the pending line of output, even if it is empty.
fn emit(tracked: &mut Tracked, index: usize, text: &mut Vec<u8>) {
    let at = match (tracked.step.started_at, tracked.partial_at) {
        (Some(from), Some(to)) => seconds(from, to),
        _ => 0.0,
    };
    text.extend_from_slice(format!("#{} {at:.3} ", index + 1).as_bytes());
    text.append(&mut tracked.partial);
    text.push(b'\n');
}

fn flush(tracked: &mut Tracked, index: usize, text: &mut Vec<u8>) {
    if !tracked.partial.is_empty() {
        emit(tracked, index, text);
    }
}

fn line(text: &mut Vec<u8>, index: usize, words: &str) {
    text.extend_from_slice(format!("#{} {words}\n", index + 1).as_bytes());
}

fn is_canceled(error: &str) -> bool {
    error.ends_with("context canceled")
}

/// Bounds a name and keeps it on one line.
fn one_line(name: &str) -> String {
    let mut end = name.len().min(MAX_NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end]
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn time(timestamp: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let timestamp = timestamp?;
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}

fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    to.signed_duration_since(from)
        .to_std()
        .unwrap_or_default()
        .as_secs_f64()
}

/// A number of bytes as Docker writes it.
fn size(bytes: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
    let bytes = bytes as f64;
    let (unit, divisor) = match bytes {
        b if b >= 1e9 => ("GB", 1e9),
        b if b >= 1e6 => ("MB", 1e6),
        b if b >= 1e3 => ("kB", 1e3),
        _ => return format!("{bytes}B"),
    };
    format!("{:.2}{unit}", bytes / divisor)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<(Vec<u8>, Vec<Step>)>);

    impl Progress for Lines {
        fn write(&self, bytes: &[u8]) {
            self.0.lock().unwrap().0.extend_from_slice(bytes);
        }

        fn steps(&self, steps: Vec<Step>) {
            self.0.lock().unwrap().1 = steps;
        }
    }

    fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos })
    }

    fn vertex(digest: &str, started: Option<Timestamp>, completed: Option<Timestamp>) -> Vertex {
        Vertex {
            digest: digest.to_owned(),
            name: format!("name of {digest}"),
            started,
            completed,
            ..Vertex::default()
        }
    }

    fn log(vertex: &str, nanos: i32, msg: &[u8]) -> VertexLog {
        VertexLog {
            vertex: vertex.to_owned(),
            timestamp: at(10, nanos),
            msg: msg.to_vec(),
            ..VertexLog::default()
        }
    }

    fn render(reports: &[StatusResponse]) -> (String, Vec<Step>) {
        let (lines, mut trace) = (Lines::default(), Trace::default());
        for report in reports {
            trace.report(report, &lines);
        }
        let (text, steps) = lines.0.into_inner().unwrap();
        (String::from_utf8(text).unwrap(), steps)
    }

    #[test]
    fn parallel_steps_and_split_lines_stay_readable() {
        let (text, steps) = render(&[
            StatusResponse {
                vertexes: vec![vertex("a", at(10, 0), None), vertex("b", at(10, 0), None)],
                logs: vec![log("a", 123_000_000, b"one\ntw"), log("b", 200_000_000, b"other")],
                ..StatusResponse::default()
            },
            StatusResponse {
                vertexes: vec![
                    vertex("b", at(10, 0), at(11, 0)),
                    vertex("a", at(10, 0), at(11, 250_000_000)),
                ],
                logs: vec![log("a", 500_000_000, b"o\n\nthree")],
                ..StatusResponse::default()
            },
        ]);
        assert_eq!(
            text,
            "#1 name of a\n#2 name of b\n#1 0.123 one\n#1 0.500 two\n#1 0.500 \n#2 0.200 other\n#2 DONE 1.0s\n\
             #1 0.500 three\n#1 DONE 1.2s\n"
        );
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].name, "name of a");
        assert!(steps[0].finished_at.is_some());
    }

    #[test]
    fn cached_failed_and_canceled_steps_are_told_apart() {
        let cached = Vertex {
            cached: true,
            ..vertex("a", at(1, 0), at(1, 0))
        };
        let failed = Vertex {
            error: "exit code: 7".to_owned(),
            ..vertex("b", at(1, 0), at(2, 0))
        };
        let canceled = Vertex {
            error: "x: context canceled".to_owned(),
            ..vertex("c", at(1, 0), at(2, 0))
        };
        let waiting = vertex("d", None, None);
        let (text, steps) = render(&[StatusResponse {
            vertexes: vec![canceled, cached, failed, waiting],
            ..StatusResponse::default()
        }]);
        assert!(
            text.ends_with("#1 CANCELED\n#2 CACHED\n#3 ERROR: exit code: 7\n"),
            "{text}"
        );
        assert_eq!(steps.len(), 3, "a step that has not begun is not listed");
        assert!(steps[1].cached && steps[2].error.is_some());
    }

    #[test]
    fn a_transfer_is_one_line_and_an_endless_line_comes_in_pieces() {
        let transfer = |completed| VertexStatus {
            id: "transferring context:".to_owned(),
            vertex: "a".to_owned(),
            current: 2050,
            completed,
            ..VertexStatus::default()
        };
        let (text, _) = render(&[StatusResponse {
            vertexes: vec![vertex("a", at(10, 0), None)],
            statuses: vec![transfer(None), transfer(None), transfer(at(11, 0))],
            logs: vec![log("a", 0, &vec![b'x'; MAX_LINE * 2 + 1]), log("unknown", 0, b"y\n")],
            ..StatusResponse::default()
        }]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["#1 name of a", "#1 transferring context: 2.05kB done"]);
        assert_eq!(
            lines[2..].iter().map(|line| line.len()).collect::<Vec<_>>(),
            [MAX_LINE + 9; 2]
        );
    }

    #[test]
    fn vertices_name_images_and_other_steps_do_not() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(
                image_of(name).map(|image| image.to_string()).as_deref(),
                expected,
                "{name}"
            );
        };
        let alpine = format!("docker.io/library/alpine:3.20@{digest}");
        check(&format!("[1/3] FROM {alpine}"), Some(&alpine));
        check(&format!("[linux/arm64 build 1/3] FROM {alpine}"), Some(&alpine));
        check(&format!("FROM {alpine}"), Some(&alpine));
        check(&format!("docker-image://{alpine}"), Some(&alpine));
        check("[internal] load metadata for r.example/a:1", Some("r.example/a:1"));
        check(
            "resolve image config for docker-image://docker.io/docker/dockerfile:1",
            Some("docker.io/docker/dockerfile:1"),
        );
        check(
            "resolve image config for docker.io/docker/dockerfile:1",
            Some("docker.io/docker/dockerfile:1"),
        );
        check("[2/3] RUN echo FROM alpine", None);
        check("[1/2] FROM scratch", None);
        check("[internal] load build context", None);
        check("[2/3] COPY --from=a FROM /", None);
    }
}
