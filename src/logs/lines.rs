//! Reads logs by line: any window of a log of any length, its outline, and what is found in it. A log that grows is
//! looked at again from where the last look ended; nothing holds more of it than one piece at a time.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::{Regex, RegexBuilder};

use super::ansi::{self, ShownLine};
use super::chunks::{ChunkReader, ReadError};
use super::line_index::{LineIndex, Mark, Section};
use crate::domain::ids::BuildId;

/// The largest piece that is read at once, in bytes: what a sealed log decompresses for one byte.
const PIECE: usize = 1024 * 1024;

/// Most lines of one window.
pub const MAX_WINDOW: u64 = 2000;

/// A window ends after so many bytes of the log, even if lines are missing.
const WINDOW_BYTES: u64 = 1024 * 1024;

/// What is kept of one line, in bytes. No writer of ours makes longer ones.
const MAX_LINE: usize = 128 * 1024;

/// Hits of one search.
const MAX_HITS: usize = 1000;

/// Bytes that one search looks at.
const SEARCH_BYTES: u64 = 8 * 1024 * 1024;

/// Logs whose lines are known at once; one takes some kilobytes.
const MAX_INDEXES: usize = 64;

/// Where the lines of the logs are that were read lately. It can be thrown away at any time.
#[derive(Default)]
pub struct LogLines {
    indexes: Mutex<Indexes>,
}

#[derive(Default)]
struct Indexes {
    by_build: HashMap<BuildId, (Arc<tokio::sync::Mutex<Known>>, u64)>,
    /// Counts the uses, to tell which was the last.
    uses: u64,
}

#[derive(Default)]
struct Known {
    index: LineIndex,
    ended: bool,
}

/// How far a log has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineExtent {
    /// Lines, with one that has no end yet.
    pub lines: u64,
    /// The last line has no end yet: it comes again, longer.
    pub open: bool,
    /// Nothing will ever be appended.
    pub ended: bool,
    /// In bytes.
    size: u64,
}

impl LineExtent {
    /// In bytes.
    pub fn size(self) -> u64 {
        self.size
    }
}

/// A log from far away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    pub extent: LineExtent,
    pub sections: Vec<Section>,
    /// The line that most likely tells why the build failed.
    pub first_error: Option<u64>,
    /// The step that failed.
    pub failed_step: Option<Section>,
    /// The first line of the last attempt.
    attempt_from: u64,
}

impl Outline {
    /// The steps of the last attempt, in their order.
    pub fn steps(&self) -> Vec<&Section> {
        let of_attempt = self
            .sections
            .iter()
            .filter(|section| section.first >= self.attempt_from);
        let mut steps: Vec<&Section> = of_attempt.filter(|section| section.step.is_some()).collect();
        steps.sort_by_key(|section| section.step);
        steps
    }
}

/// Some lines of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The first line, counted from 0.
    pub from: u64,
    /// Fewer than were asked for where they are long or the log ends; at least one where there is any.
    pub lines: Vec<ShownLine>,
    pub extent: LineExtent,
}

/// One line and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Counted from 0.
    pub number: u64,
    pub line: ShownLine,
}

impl Window {
    /// The lines with their numbers.
    pub fn numbered(self) -> impl Iterator<Item = LogLine> {
        (self.from..)
            .zip(self.lines)
            .map(|(number, line)| LogLine { number, line })
    }
}

/// What a search found in a part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The lines with hits, in order.
    pub lines: Vec<u64>,
    /// Where to go on; none: everything was searched.
    pub next: Option<u64>,
}

/// What is searched for: a text, in upper or lower case.
#[derive(Debug, Clone)]
pub struct Needle(Regex);

impl Needle {
    /// Longest text, in characters.
    pub const MAX: usize = 200;

    /// `None`: the text is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().count() > Self::MAX {
            return None;
        }
        let regex = RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
        regex.ok().map(Self)
    }

    fn is_in(&self, line: &[u8]) -> bool {
        match ansi::is_plain(line) {
            true => self.0.is_match(line),
            false => self.0.is_match(ansi::plain(line).as_bytes()),
        }
    }
}

impl LogLines {
    /// How far the log of `build` has come by now.
    pub async fn extent<R: ChunkReader>(&self, reader: &R, build: &BuildId) -> Result<LineExtent, ReadError> {
        Ok(extent(&*self.known(reader, build).await?))
    }

    /// The sections of a log, and where its cause of failure is.
    pub async fn outline<R: ChunkReader>(&self, reader: &R, build: &BuildId) -> Result<Outline, ReadError> {
        let known = self.known(reader, build).await?;
        Ok(Outline {
            extent: extent(&known),
            sections: known.index.sections().to_vec(),
            first_error: known.index.first_error(),
            failed_step: known.index.failed_step().cloned(),
            attempt_from: known.index.attempt_from(),
        })
    }

    /// Up to `count` lines from line `from` on.
    pub async fn window<R: ChunkReader>(
        &self,
        reader: &R,
        build: &BuildId,
        from: u64,
        count: u64,
    ) -> Result<Window, ReadError> {
        let (extent, mark) = self.place(reader, build, from).await?;
        let until = from.saturating_add(count.min(MAX_WINDOW));
        let (mut lines, mut taken) = (Vec::new(), 0);
        walk(reader, build, mark, extent.size, |number, line| {
            if number < from {
                return ControlFlow::Continue(());
            }
            if number >= until || (taken > 0 && taken + line.len() as u64 > WINDOW_BYTES) {
                return ControlFlow::Break(());
            }
            taken += line.len() as u64 + 1;
            lines.push(ansi::shown(line));
            ControlFlow::Continue(())
        })
        .await?;
        Ok(Window { from, lines, extent })
    }

    /// Searches from line `from` on, as far as one answer goes.
    pub async fn search<R: ChunkReader>(
        &self,
        reader: &R,
        build: &BuildId,
        needle: &Needle,
        from: u64,
    ) -> Result<Found, ReadError> {
        let (extent, mark) = self.place(reader, build, from).await?;
        let (mut lines, mut next, mut seen) = (Vec::new(), None, 0);
        walk(reader, build, mark, extent.size, |number, line| {
            if number < from {
                return ControlFlow::Continue(());
            }
            if lines.len() >= MAX_HITS || seen >= SEARCH_BYTES {
                next = Some(number);
                return ControlFlow::Break(());
            }
            seen += line.len() as u64 + 1;
            if needle.is_in(line) {
                lines.push(number);
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(Found { lines, next })
    }

    async fn place<R: ChunkReader>(
        &self,
        reader: &R,
        build: &BuildId,
        line: u64,
    ) -> Result<(LineExtent, Mark), ReadError> {
        let known = self.known(reader, build).await?;
        Ok((extent(&known), known.index.mark(line)))
    }

    /// What is known of a log, brought up to now. However many ask, one reads.
    async fn known<R: ChunkReader>(
        &self,
        reader: &R,
        build: &BuildId,
    ) -> Result<tokio::sync::OwnedMutexGuard<Known>, ReadError> {
        let mut known = self.entry(build).lock_owned().await;
        while !known.ended {
            let piece = reader.read(build, known.index.size(), PIECE).await?;
            if piece.bytes.is_empty() {
                known.ended = piece.ended;
                break;
            }
            known.index.push(&piece.bytes);
        }
        Ok(known)
    }

    fn entry(&self, build: &BuildId) -> Arc<tokio::sync::Mutex<Known>> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.uses += 1;
        let uses = indexes.uses;
        if let Some((known, used)) = indexes.by_build.get_mut(build) {
            *used = uses;
            return Arc::clone(known);
        }
        if indexes.by_build.len() >= MAX_INDEXES {
            let oldest = indexes.by_build.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(build, _)| build.clone()) {
                indexes.by_build.remove(&oldest);
            }
        }
        let known = Arc::default();
        indexes.by_build.insert(build.clone(), (Arc::clone(&known), uses));
        known
    }
}

fn extent(known: &Known) -> LineExtent {
    LineExtent {
        lines: known.index.lines(),
        open: known.index.is_open() && !known.ended,
        ended: known.ended,
        size: known.index.size(),
    }
}

/// Shows `visit` the lines from `mark` on, until it has enough or `end`, an offset, is reached.
async fn walk<R: ChunkReader>(
    reader: &R,
    build: &BuildId,
    mark: Mark,
    end: u64,
    mut visit: impl FnMut(u64, &[u8]) -> ControlFlow<()> + Send,
) -> Result<(), ReadError> {
    let Mark { mut line, mut offset } = mark;
    let mut begun = Vec::new();
    while offset < end {
        let wanted = usize::try_from(end - offset).unwrap_or(PIECE).min(PIECE);
        let bytes = reader.read(build, offset, wanted).await?.bytes;
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
        let mut pieces = bytes.split(|&byte| byte == b'\n');
        let mut piece = pieces.next().unwrap_or_default();
        for next in pieces {
            let visited = match begun.is_empty() {
                true => visit(line, &piece[..piece.len().min(MAX_LINE)]),
                false => {
                    extend(&mut begun, piece);
                    visit(line, &begun)
                }
            };
            if visited.is_break() {
                return Ok(());
            }
            begun.clear();
            line += 1;
            piece = next;
        }
        extend(&mut begun, piece);
    }
    if !begun.is_empty() {
        let _ = visit(line, &begun);
    }
    Ok(())
}

fn extend(begun: &mut Vec<u8>, piece: &[u8]) {
    let room = MAX_LINE - begun.len();
    begun.extend_from_slice(&piece[..piece.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use super::super::testing::MemoryStore;
    use super::*;

    struct Fixture {
        store: Arc<MemoryStore>,
        build: BuildId,
        lines: LogLines,
    }

    impl Fixture {
        fn new(log: &[u8]) -> Self {
            let (store, build) = (MemoryStore::new(), BuildId::new());
            store.put(&build, log);
            Self {
                store,
                build,
                lines: LogLines::default(),
            }
        }

        async fn window(&self, from: u64, count: u64) -> (Vec<String>, LineExtent) {
            let window = self.lines.window(&*self.store, &self.build, from, count).await.unwrap();
            let texts = window.lines.iter().map(|line| {
                let texts: Vec<&str> = line.spans.iter().map(|span| span.text.as_str()).collect();
                texts.concat()
            });
            (texts.collect(), window.extent)
        }

        async fn search(&self, text: &str, from: u64) -> Found {
            let needle = Needle::new(text).unwrap();
            self.lines
                .search(&*self.store, &self.build, &needle, from)
                .await
                .unwrap()
        }
    }

    fn numbered(count: u64) -> Vec<u8> {
        (0..count).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
    }

    #[tokio::test]
    async fn any_window_of_a_million_lines_has_the_lines_that_it_names() {
        let fixture = Fixture::new(&numbered(1_000_000));
        fixture.store.end(&fixture.build);
        for from in [0, 1, 999, 1000, 1001, 123_456, 999_000, 999_999] {
            let (texts, extent) = fixture.window(from, 300).await;
            let expected: Vec<String> = (from..1_000_000.min(from + 300)).map(|n| format!("line {n}")).collect();
            assert_eq!(texts, expected, "from {from}");
            assert_eq!((extent.lines, extent.open, extent.ended), (1_000_000, false, true));
        }
        let reads = fixture.store.reads.load(SeqCst);
        fixture.window(500_000, 1).await;
        assert_eq!(
            fixture.store.reads.load(SeqCst),
            reads + 1,
            "a window reads what it shows and no more"
        );
        assert_eq!(fixture.window(1_000_000, 5).await.0, [""; 0]);
        assert_eq!(fixture.window(u64::MAX, u64::MAX).await.0, [""; 0]);
        assert_eq!(fixture.window(0, u64::MAX).await.0.len() as u64, MAX_WINDOW);
    }

    #[tokio::test]
    async fn a_log_that_grows_is_read_on_and_its_open_line_comes_again() {
        let fixture = Fixture::new(b"one\ntw");
        let (texts, extent) = fixture.window(0, 10).await;
        assert_eq!(texts, ["one", "tw"]);
        assert_eq!((extent.lines, extent.open, extent.ended), (2, true, false));
        fixture.store.put(&fixture.build, b"o\nthree");
        assert_eq!(fixture.window(1, 10).await.0, ["two", "three"]);
        fixture.store.end(&fixture.build);
        let (_, extent) = fixture.window(0, 10).await;
        assert_eq!((extent.lines, extent.open, extent.ended), (3, false, true));
        let reads = fixture.store.reads.load(SeqCst);
        fixture.lines.extent(&*fixture.store, &fixture.build).await.unwrap();
        assert_eq!(
            fixture.store.reads.load(SeqCst),
            reads,
            "what has ended is not looked at again"
        );
    }

    #[tokio::test]
    async fn an_empty_log_has_no_lines() {
        let fixture = Fixture::new(b"");
        assert_eq!(fixture.window(0, 10).await.0, [""; 0]);
        assert_eq!(
            fixture.search("x", 0).await,
            Found {
                lines: vec![],
                next: None
            }
        );
    }

    #[tokio::test]
    async fn long_lines_make_a_window_shorter_but_never_empty() {
        let line = [&[b'x'; 60_000][..], b"\n"].concat();
        let fixture = Fixture::new(&line.repeat(100));
        let (texts, _) = fixture.window(40, 50).await;
        assert_eq!(texts.len(), 17);
        let endless = Fixture::new(&[&vec![b'x'; 3 << 20][..], b"\nnext\n"].concat());
        assert_eq!(endless.window(0, 1).await.0.len(), 1);
        assert_eq!(endless.window(1, 1).await.0, ["next"]);
    }

    #[tokio::test]
    async fn a_search_is_by_what_is_seen_in_any_case() {
        let fixture =
            Fixture::new(b"an Error\nno\n\x1b[31mer\x1b[0mROR\n10%\rerror\nerror\rgone\na.b\nacb\nENTR\xc3\x89E\n");
        assert_eq!(fixture.search("error", 0).await.lines, [0, 2, 3]);
        assert_eq!(fixture.search("error", 1).await.lines, [2, 3]);
        assert_eq!(fixture.search("a.b", 0).await.lines, [5]);
        assert_eq!(fixture.search("entrée", 0).await.lines, [7]);
        assert!(Needle::new("").is_none() && Needle::new(&"x".repeat(201)).is_none());
    }

    #[tokio::test]
    async fn a_long_search_goes_on_where_it_stopped() {
        let fixture = Fixture::new(&numbered(1_000_000));
        let (mut hits, mut from, mut answers) = (0, Some(0), 0);
        while let Some(line) = from {
            let found = fixture.search("line 99999", line).await;
            assert!(found.lines.iter().all(|hit| *hit >= line));
            hits += found.lines.len();
            from = found.next;
            answers += 1;
        }
        assert_eq!(hits, 11);
        assert!(answers > 1);
        let found = fixture.search("line", 500).await;
        assert_eq!((found.lines.len(), found.lines[0], found.next), (1000, 500, Some(1500)));
    }

    #[tokio::test]
    async fn only_so_many_logs_are_known_at_once() {
        let fixture = Fixture::new(b"x\n");
        for _ in 0..MAX_INDEXES + 10 {
            let build = BuildId::new();
            fixture.store.put(&build, b"y\n");
            fixture.lines.extent(&*fixture.store, &build).await.unwrap();
            fixture.window(0, 1).await;
        }
        let indexes = fixture.lines.indexes.lock().unwrap();
        assert_eq!(indexes.by_build.len(), MAX_INDEXES);
        assert!(indexes.by_build.contains_key(&fixture.build));
    }
}
