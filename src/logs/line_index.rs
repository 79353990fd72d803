//! Where the lines and the steps of a log are, found in one pass over its bytes as they come: sparse, so that a log of
//! millions of lines takes some kilobytes. It must never hold more than its bounds, whatever is in the log.
//!
//! Lines count from 0 here, steps from 1 as the builder counts them.

use std::collections::HashMap;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::line_prefix::prefix_of;

/// A place is remembered at least every so many lines.
const LINES_APART: u64 = 1000;

/// A place is remembered at least every so many bytes, for logs of long lines.
const BYTES_APART: u64 = 256 * 1024;

/// How much of the beginning of a line is looked at, in bytes.
const HEAD: usize = 512;

/// Longest title of a section, in bytes.
const MAX_TITLE: usize = 200;

/// Sections of one log; what comes afterwards belongs to the last.
const MAX_SECTIONS: usize = 5000;

/// What a line says that tells of a cause, whatever the language it was written in.
const SUSPICIOUS: [&str; 22] = [
    "error:",
    "error[",
    "errors:",
    "error ",
    "err!",
    "fatal:",
    "fatal error",
    "fail:",
    "failed:",
    "failed to",
    "failure:",
    "panicked at",
    "panic:",
    "exception",
    "traceback (most recent call last)",
    "not found",
    "no such file or directory",
    "permission denied",
    "cannot ",
    "undefined reference",
    "segmentation fault",
    "out of memory",
];

/// How our own last line of a failed build begins.
const FAILED: &[u8] = b"failed (";

/// How the older builder tells which program failed.
const CLASSIC_FAILURE: &str = "returned a non-zero code";

static SUSPECTS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(SUSPICIOUS)
        .ok()
});

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub line: u64,
    /// Where the line begins, in bytes.
    pub offset: u64,
}

/// A part of a log that begins with a step's first line and goes on to that of the next one; or what stands outside of
/// the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its first line.
    pub first: u64,
    /// The step, as the builder counts: the same number comes again in a further attempt.
    pub step: Option<u32>,
    /// The step's name. Empty outside of the steps.
    pub title: String,
    pub outcome: Outcome,
    /// How long it took, as the builder tells it: `1.2s`.
    pub took: Option<String>,
    /// The first line that seems to tell of a fault.
    suspect: Option<u64>,
    /// The line by which the builder tells that the step failed.
    pub failed_at: Option<u64>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has not.
    Open,
    Done,
    Cached,
    Failed,
    Canceled,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// Which builder speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Builder {
    Unknown,
    BuildKit,
    Classic,
}

/// See the module.
#[derive(Debug)]
pub struct LineIndex {
    /// Bytes taken in.
    size: u64,
    /// Lines that have their end.
    whole: u64,
    /// Where the line begins that has not.
    line_at: u64,
    head: Vec<u8>,
    marks: Vec<Mark>,
    sections: Vec<Section>,
    builder: Builder,
    /// The sections of the steps of the present attempt.
    by_step: HashMap<u32, usize>,
    failed_line: Option<u64>,
    attempt_from: u64,
}

impl Default for LineIndex {
    fn default() -> Self {
        Self {
            size: 0,
            whole: 0,
            line_at: 0,
            head: Vec::with_capacity(HEAD),
            marks: vec![Mark { line: 0, offset: 0 }],
            sections: Vec::new(),
            builder: Builder::Unknown,
            by_step: HashMap::new(),
            failed_line: None,
            attempt_from: 0,
        }
    }
}

impl LineIndex {
    /// Takes in the bytes that follow.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.split(|&byte| byte == b'\n');
        // What comes before the first end of a line belongs to the line that was begun.
        let mut piece = pieces.next().unwrap_or_default();
        for next in pieces {
            self.take(piece);
            self.size += 1;
            self.end_line();
            piece = next;
        }
        self.take(piece);
    }

    fn take(&mut self, piece: &[u8]) {
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
        self.size += piece.len() as u64;
    }

    /// Bytes taken in.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Lines, with the one that has no end yet.
    pub fn lines(&self) -> u64 {
        self.whole + u64::from(self.is_open())
    }

    /// The last line has no end yet.
    pub fn is_open(&self) -> bool {
        self.size > self.line_at
    }

    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The first line of the last attempt.
    pub fn attempt_from(&self) -> u64 {
        self.attempt_from
    }

    /// The nearest known place at or before `line`.
    pub fn mark(&self, line: u64) -> Mark {
        let after = self.marks.partition_point(|mark| mark.line <= line);
        self.marks[after.saturating_sub(1)]
    }

    /// The line that most likely tells why the build failed: in the step that failed first in the last attempt, or what
    /// we said ourselves.
    pub fn first_error(&self) -> Option<u64> {
        let failed = self.failed_step();
        failed
            .and_then(|section| section.suspect.or(section.failed_at))
            .or(self.failed_line)
    }

    /// The step that failed first in the last attempt.
    pub fn failed_step(&self) -> Option<&Section> {
        let of_attempt = self.by_step.values().map(|&index| &self.sections[index]);
        of_attempt
            .filter(|section| section.outcome == Outcome::Failed)
            .min_by_key(|section| section.failed_at)
    }

    fn end_line(&mut self) {
        let head = std::mem::take(&mut self.head);
        self.classify(&head, self.whole);
        self.head = head;
        self.head.clear();
        self.whole += 1;
        self.line_at = self.size;
        let last = self.mark(u64::MAX);
        if self.whole - last.line >= LINES_APART || self.size - last.offset >= BYTES_APART {
            self.marks.push(Mark {
                line: self.whole,
                offset: self.size,
            });
        }
    }

    fn classify(&mut self, head: &[u8], line: u64) {
        if self.builder != Builder::Classic
            && let Some(prefix) = prefix_of(head)
        {
            self.builder = Builder::BuildKit;
            self.line_of_step(prefix.step, &head[prefix.length..], prefix.is_output, line);
            return;
        }
        if self.builder != Builder::BuildKit && self.line_of_classic(head, line) {
            return;
        }
        if head.strip_prefix(b"attempt ").is_some_and(is_number) {
            self.builder = Builder::Unknown;
            self.by_step.clear();
            self.failed_line = None;
            self.attempt_from = line;
            self.open(line, None, b"");
        } else if self.builder == Builder::BuildKit || self.sections.is_empty() {
            // Every line of a step has its prefix.
            if self.sections.last().is_none_or(|section| section.step.is_some()) {
                self.open(line, None, b"");
            }
        }
        if head.starts_with(FAILED) {
            self.failed_line = Some(line);
        }
    }

    fn line_of_step(&mut self, step: u32, text: &[u8], is_output: bool, line: u64) {
        let index = match self.by_step.get(&step) {
            Some(&index) => index,
            None => {
                let Some(index) = self.open(line, Some(step), text) else {
                    return;
                };
                self.by_step.insert(step, index);
                return;
            }
        };
        let section = &mut self.sections[index];
        if is_output {
            if section.suspect.is_none() && is_suspicious(text) {
                section.suspect = Some(line);
            }
        } else if let Some(took) = text.strip_prefix(b"DONE ") {
            section.outcome = Outcome::Done;
            section.took = Some(words(took, 16));
        } else if text == b"CACHED" {
            section.outcome = Outcome::Cached;
        } else if text == b"CANCELED" {
            section.outcome = Outcome::Canceled;
        } else if text.starts_with(b"ERROR: ") {
            section.outcome = Outcome::Failed;
            section.failed_at = section.failed_at.or(Some(line));
        }
    }

    /// Tells whether the line begins or ends a step, as the older builder writes them.
    fn line_of_classic(&mut self, head: &[u8], line: u64) -> bool {
        let due = self.by_step.len() as u32 + 1;
        if let Some(name) = classic_step(head, due) {
            self.builder = Builder::Classic;
            self.end_classic(Outcome::Done);
            if let Some(index) = self.open(line, Some(due), name) {
                self.by_step.insert(due, index);
            }
            return true;
        }
        if self.builder != Builder::Classic {
            return false;
        }
        let Some(section) = self.sections.last_mut() else {
            return false;
        };
        if section.step.is_none() {
            return false;
        }
        if head == b" ---> Using cache" {
            section.outcome = Outcome::Cached;
        } else if head.starts_with(b"Successfully built ") {
            self.end_classic(Outcome::Done);
            self.open(line, None, b"");
        } else if head.starts_with(FAILED) {
            section.outcome = Outcome::Failed;
            section.failed_at = section.failed_at.or(Some(line));
            self.failed_line = Some(line);
            self.open(line, None, b"");
        } else {
            let text = String::from_utf8_lossy(head);
            if text.contains(CLASSIC_FAILURE) {
                section.failed_at = section.failed_at.or(Some(line));
            } else if section.suspect.is_none() && is_suspicious(head) && section.first < line {
                section.suspect = Some(line);
            }
        }
        true
    }

    fn end_classic(&mut self, outcome: Outcome) {
        if let Some(section) = self.sections.last_mut()
            && section.step.is_some()
            && section.outcome == Outcome::Open
        {
            section.outcome = outcome;
        }
    }

    /// Begins a section, if there may be another.
    fn open(&mut self, line: u64, step: Option<u32>, title: &[u8]) -> Option<usize> {
        if self.sections.len() >= MAX_SECTIONS {
            return None;
        }
        self.sections.push(Section {
            first: line,
            step,
            title: words(title, MAX_TITLE),
            outcome: Outcome::Open,
            took: None,
            suspect: None,
            failed_at: None,
        });
        Some(self.sections.len() - 1)
    }
}

/// `Step 2/3 : RUN make` as `[2/3] RUN make`'s `RUN make`, if it is the step that is due.
fn classic_step(head: &[u8], due: u32) -> Option<&[u8]> {
    let rest = head.strip_prefix(b"Step ")?;
    let colon = rest.windows(3).position(|window| window == b" : ")?;
    let (number, of) = std::str::from_utf8(&rest[..colon]).ok()?.split_once('/')?;
    let is_due = number.parse() == Ok(due) && of.parse::<u32>().is_ok();
    is_due.then(|| &rest[colon + 3..])
}

fn is_number(text: &[u8]) -> bool {
    !text.is_empty() && text.len() < 10 && text.iter().all(u8::is_ascii_digit)
}

fn is_suspicious(text: &[u8]) -> bool {
    SUSPECTS.as_ref().is_some_and(|suspects| suspects.is_match(text))
}

/// The beginning of a text, of at most `max` bytes.
fn words(text: &[u8], max: usize) -> String {
    String::from_utf8_lossy(&text[..text.len().min(max)])
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(log: &str) -> LineIndex {
        let mut index = LineIndex::default();
        index.push(log.as_bytes());
        index
    }

    /// First line, step, title, outcome of each section.
    fn sections(log: &str) -> Vec<(u64, u32, String, &'static str)> {
        index(log)
            .sections()
            .iter()
            .map(|section| {
                (
                    section.first,
                    section.step.unwrap_or_default(),
                    section.title.clone(),
                    section.outcome.as_str(),
                )
            })
            .collect()
    }

    const BUILDKIT: &str = "\
fetching branch main
at 1234 Say hello
#1 [internal] load build definition from Dockerfile
#1 DONE 0.1s
#2 [1/3] FROM busybox
#3 [internal] load build context
#2 CACHED
#3 transferring 5B done
#3 DONE 0.0s
#4 [2/3] RUN make
#4 0.100 cc -o x x.c
#4 0.200 x.c:1: error: no
#4 0.300 make: *** failed to
#4 ERROR: process \"make\" did not complete successfully: exit code: 2
failed (build): the step [2/3] RUN make failed
";

    const CLASSIC: &str = "\
fetching branch main
Step 1/3 : FROM busybox
 ---> 1234
Step 2/3 : COPY . .
 ---> Using cache
 ---> 5678
Step 3/3 : RUN make
 ---> Running in 9
#7 [1/1] not BuildKit's
Step 9/9 : not the builder's
x.c:1: error: no
The command '/bin/sh -c make' returned a non-zero code: 2
failed (build): the step [3/3] RUN make failed
";

    #[test]
    fn the_steps_of_buildkit_are_sections() {
        let expected = [
            (0, 0, "", "open"),
            (2, 1, "[internal] load build definition from Dockerfile", "done"),
            (4, 2, "[1/3] FROM busybox", "cached"),
            (5, 3, "[internal] load build context", "done"),
            (9, 4, "[2/3] RUN make", "failed"),
            (14, 0, "", "open"),
        ];
        assert_eq!(
            sections(BUILDKIT),
            expected.map(|(first, step, title, outcome)| (first, step, title.to_owned(), outcome))
        );
        assert_eq!(index(BUILDKIT).sections()[1].took.as_deref(), Some("0.1s"));
    }

    #[test]
    fn the_steps_of_the_older_builder_are_sections_too() {
        let expected = [
            (0, 0, "", "open"),
            (1, 1, "FROM busybox", "done"),
            (3, 2, "COPY . .", "cached"),
            (6, 3, "RUN make", "failed"),
            (12, 0, "", "open"),
        ];
        assert_eq!(
            sections(CLASSIC),
            expected.map(|(first, step, title, outcome)| (first, step, title.to_owned(), outcome))
        );
    }

    #[test]
    fn the_first_error_is_in_the_step_that_failed() {
        assert_eq!(index(BUILDKIT).first_error(), Some(11));
        assert_eq!(index(CLASSIC).first_error(), Some(10));
        let silent = "#1 [1/1] RUN false\n#1 0.1 error: hidden in the builder's words\n#1 ERROR: exit code: 1\n";
        assert_eq!(index(silent).first_error(), Some(2));
        let other = "#1 a\n#2 b\n#1 0.100 error: survived\n#2 CANCELED\n#1 DONE 1s\nfailed (registry): refused\n";
        assert_eq!(index(other).first_error(), Some(5));
        assert_eq!(
            index("#1 a\n#1 0.100 error: survived\n#1 DONE 1.0s\n").first_error(),
            None
        );
    }

    #[test]
    fn a_further_attempt_has_sections_of_its_own() {
        let log = "#1 a\n#1 ERROR: away\nback to the queue: x\nattempt 2\n#1 a\n#1 DONE 0.1s\n";
        let steps: Vec<(u64, u32)> = sections(log).iter().map(|(first, step, ..)| (*first, *step)).collect();
        assert_eq!(steps, [(0, 1), (2, 0), (3, 0), (4, 1)]);
        assert_eq!(index(log).first_error(), None);
    }

    #[test]
    fn it_is_the_same_however_the_bytes_are_cut() {
        for step in [1, 2, 3, 7, 50] {
            for log in [BUILDKIT, CLASSIC] {
                let mut pieces = LineIndex::default();
                for piece in log.as_bytes().chunks(step) {
                    pieces.push(piece);
                }
                let whole = index(log);
                assert_eq!(pieces.sections(), whole.sections());
                assert_eq!((pieces.lines(), pieces.size()), (whole.lines(), whole.size()));
            }
        }
    }

    #[test]
    fn lines_are_counted_with_the_open_one() {
        for (log, lines, open) in [("", 0, false), ("a", 1, true), ("a\n", 1, false), ("a\n\nb", 3, true)] {
            let index = index(log);
            assert_eq!((index.lines(), index.is_open()), (lines, open), "{log:?}");
        }
    }

    #[test]
    fn places_are_remembered_every_thousand_lines_and_in_long_ones_more_often() {
        let mut index = LineIndex::default();
        for _ in 0..10_500 {
            index.push(b"12345\n");
        }
        assert_eq!(index.marks.len(), 11);
        assert_eq!(index.mark(0), Mark { line: 0, offset: 0 });
        assert_eq!(
            index.mark(2999),
            Mark {
                line: 2000,
                offset: 12_000
            }
        );
        assert_eq!(
            index.mark(3000),
            Mark {
                line: 3000,
                offset: 18_000
            }
        );
        let long = [&[b'x'; 100_000][..], b"\n"].concat();
        for _ in 0..9 {
            index.push(&long);
        }
        assert_eq!(index.mark(u64::MAX).line, 10_509);
    }

    #[test]
    fn a_log_of_nothing_but_steps_is_bounded() {
        let mut index = LineIndex::default();
        for step in 1..90_000 {
            index.push(format!("#{step} x\n#{step} 0.001 y\n").as_bytes());
        }
        assert_eq!(index.sections().len(), MAX_SECTIONS);
        assert_eq!(index.by_step.len(), MAX_SECTIONS);
    }
}
