//! The bounded piece of memory between a build and the store: what was said and is not yet durable.
//!
//! Bytes come in as a build writes them; they leave as the log is stored: line ends made plain, secrets masked, every
//! limit applied and every loss told in the log itself. It must never hold more than its bounds, nor lose silently.

use std::collections::VecDeque;
use std::sync::Arc;

use super::mask::{MaskStream, Masker};

/// The longest line that is kept whole, in bytes.
pub(super) const MAX_LINE: usize = 64 * 1024;
/// How much may wait to be stored, in bytes. Beyond it whole lines are dropped.
pub(super) const CAPACITY: usize = 4 * 1024 * 1024;
/// What our own lines may take beyond the limits of the log and of the memory, so that an ending is always told.
pub(super) const RESERVE: usize = 64 * 1024;
/// Room for the markers that may come with one line, in bytes.
const MARKERS: usize = 512;
/// Input is masked in steps of this many bytes, so that one huge write needs no huge copy.
const STEP: usize = 16 * 1024;

/// See the module.
pub(super) struct Backlog {
    /// Bound on the whole log, in bytes.
    max_bytes: u64,
    masker: Arc<Masker>,
    mask: MaskStream,
    /// A `\r` was read last: it vanishes if `\n` follows.
    pending_cr: bool,
    line: Line,
    dropped: Dropped,
    /// The limit of the whole log was reached.
    full: bool,
    closed: bool,
    /// The size of the log once everything queued is stored, in bytes.
    size: u64,
    queue: VecDeque<u8>,
    /// Bytes handed out and not yet known to be stored.
    in_flight: usize,
}

/// The line that is being written.
enum Line {
    /// None: the next byte begins one.
    Start,
    /// `length` bytes were kept, `cut` further ones not.
    Kept { length: usize, cut: u64 },
    /// There was no room when it began.
    Dropped,
}

/// What was lost since that was last told.
#[derive(Default)]
struct Dropped {
    lines: u64,
    bytes: u64,
}

impl Backlog {
    /// `size` is what the log already has of earlier attempts, in bytes. They may have stopped anywhere in a line.
    pub fn new(masker: Arc<Masker>, max_bytes: u64, size: u64) -> Self {
        Self {
            max_bytes,
            mask: MaskStream::new(Arc::clone(&masker)),
            masker,
            pending_cr: false,
            line: if size == 0 {
                Line::Start
            } else {
                Line::Kept { length: 0, cut: 0 }
            },
            dropped: Dropped::default(),
            full: false,
            closed: false,
            size,
            queue: VecDeque::new(),
            in_flight: 0,
        }
    }

    /// Takes bytes of the build as they came.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.closed || self.full {
            return;
        }
        let mut plain = Vec::new();
        let mut masked = Vec::new();
        for step in bytes.chunks(STEP) {
            plain.clear();
            masked.clear();
            self.plain_line_ends(step, &mut plain);
            self.mask.push(&plain, &mut masked);
            self.add(&masked);
        }
    }

    /// Takes one line of our own, which stands on a line of its own and counts against the reserve where nothing else
    /// passes any more. It does not join what the build wrote before and after it, so that a secret which it happens to
    /// cut in two is masked all the same.
    pub fn own_line(&mut self, text: &str) {
        if self.closed {
            return;
        }
        let text = text.replace("\r\n", "\n");
        let mut line = self.masker.mask(text.trim_end_matches('\n').as_bytes());
        let cut = line.len().saturating_sub(MAX_LINE);
        line.truncate(MAX_LINE);
        let needed = line.len() + MARKERS;
        if self.waiting() + needed > CAPACITY + RESERVE {
            self.dropped.lines += 1;
            self.dropped.bytes += line.len() as u64 + 1;
            return;
        }
        if self.size + needed as u64 > self.max_bytes {
            self.fill();
        }
        if self.full && self.size + needed as u64 > self.max_bytes + RESERVE as u64 {
            return;
        }
        match self.line {
            Line::Start => self.tell_dropped(),
            Line::Kept { cut, .. } => self.end_line(cut),
            // Told when that line is over.
            Line::Dropped => {}
        }
        self.queue_bytes(&line);
        self.end_own_line(cut as u64);
    }

    /// Nothing follows: decides what is undecided. Whatever is written afterwards is ignored.
    pub fn close(&mut self) {
        if self.closed {
            return;
        }
        let mut rest = Vec::new();
        if std::mem::take(&mut self.pending_cr) {
            self.mask.push(b"\r", &mut rest);
        }
        self.mask.finish(&mut rest);
        self.add(&rest);
        match self.line {
            Line::Kept { cut, .. } if cut > 0 => self.end_line(cut),
            Line::Kept { .. } => {}
            Line::Start | Line::Dropped => self.tell_dropped(),
        }
        self.closed = true;
    }

    /// Forgets what waits: nobody will store it.
    pub fn abandon(&mut self) {
        self.closed = true;
        self.queue = VecDeque::new();
        self.in_flight = 0;
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes that can be taken.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Hands out up to `max` bytes to be stored. They take room until [`Self::stored`].
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        let chunk: Vec<u8> = self.queue.drain(..max.min(self.queue.len())).collect();
        self.in_flight = chunk.len();
        chunk
    }

    /// What was taken last is durable.
    pub fn stored(&mut self) {
        self.in_flight = 0;
    }

    /// Bytes in memory.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.in_flight
    }

    /// `\r\n` becomes `\n`. A lone `\r` stays: it is for whoever shows the log to make sense of it.
    fn plain_line_ends(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for part in bytes.split_inclusive(|byte| *byte == b'\r') {
            if std::mem::take(&mut self.pending_cr) && part[0] != b'\n' {
                out.push(b'\r');
            }
            match part.split_last() {
                Some((b'\r', before)) => {
                    out.extend_from_slice(before);
                    self.pending_cr = true;
                }
                _ => out.extend_from_slice(part),
            }
        }
    }

    fn add(&mut self, masked: &[u8]) {
        for part in masked.split_inclusive(|byte| *byte == b'\n') {
            if self.full {
                return;
            }
            match part.split_last() {
                Some((b'\n', text)) => self.add_part(text, true),
                _ => self.add_part(part, false),
            }
        }
    }

    /// Adds a part of a line; `last` if a line end follows it.
    fn add_part(&mut self, text: &[u8], last: bool) {
        if matches!(self.line, Line::Start) {
            self.begin_line();
        }
        match &mut self.line {
            Line::Start | Line::Dropped => {
                self.dropped.bytes += text.len() as u64 + u64::from(last);
                if last {
                    self.line = Line::Start;
                }
            }
            Line::Kept { length, cut } => {
                let kept = &text[..text.len().min(MAX_LINE - *length)];
                *length += kept.len();
                *cut += (text.len() - kept.len()) as u64;
                let cut = *cut;
                let left = self.max_bytes.saturating_sub(self.size);
                if kept.len() as u64 + u64::from(last) > left {
                    self.queue_bytes(&kept[..kept.len().min(usize::try_from(left).unwrap_or(usize::MAX))]);
                    self.fill();
                    return;
                }
                self.queue_bytes(kept);
                if last {
                    self.end_line(cut);
                }
            }
        }
    }

    /// Keeps a line only if there is room for the longest, so that none ever has to be given up half-way.
    fn begin_line(&mut self) {
        if self.waiting() + MAX_LINE + MARKERS > CAPACITY {
            self.dropped.lines += 1;
            self.line = Line::Dropped;
        } else {
            self.tell_dropped();
            self.line = Line::Kept { length: 0, cut: 0 };
        }
    }

    fn end_line(&mut self, cut: u64) {
        self.end_own_line(cut);
        self.line = Line::Start;
    }

    fn end_own_line(&mut self, cut: u64) {
        if cut > 0 {
            self.queue_bytes(format!(" [... {cut} bytes of this line cut]").as_bytes());
        }
        self.queue_bytes(b"\n");
    }

    fn tell_dropped(&mut self) {
        let Dropped { lines, bytes } = std::mem::take(&mut self.dropped);
        if lines > 0 {
            let marker =
                format!("[{lines} lines ({bytes} bytes) dropped: the log came faster than it could be stored]\n");
            self.queue_bytes(marker.as_bytes());
        }
    }

    /// The limit of the whole log is reached: only our own lines follow.
    fn fill(&mut self) {
        if self.full {
            return;
        }
        match self.line {
            Line::Kept { cut, .. } => self.end_line(cut),
            Line::Start | Line::Dropped => self.tell_dropped(),
        }
        self.line = Line::Start;
        self.full = true;
        let marker = format!(
            "[log limit of {} reached; what follows is dropped]\n",
            human_size(self.max_bytes)
        );
        self.queue_bytes(marker.as_bytes());
    }

    fn queue_bytes(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
        self.size += bytes.len() as u64;
    }
}

fn human_size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    if bytes >= MIB && bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{bytes} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    const UNLIMITED: u64 = u64::MAX / 2;

    fn backlog(max_bytes: u64) -> Backlog {
        let masker = Masker::new([SecretString::from("hunter2"), SecretString::from("{\nsecret two")]).unwrap();
        Backlog::new(Arc::new(masker), max_bytes, 0)
    }

    /// Stores everything that waits.
    fn drained(backlog: &mut Backlog) -> String {
        let taken = backlog.take(usize::MAX);
        backlog.stored();
        String::from_utf8(taken).unwrap()
    }

    fn log_of(writes: &[&str]) -> String {
        let mut backlog = backlog(UNLIMITED);
        for write in writes {
            backlog.write(write.as_bytes());
        }
        backlog.close();
        drained(&mut backlog)
    }

    #[test]
    fn line_ends_become_plain_wherever_they_are_cut_and_a_lone_return_stays() {
        assert_eq!(log_of(&["a\r\nb\rc\r\r\nd\r"]), "a\nb\rc\r\nd\r");
        assert_eq!(
            log_of(&["a\r", "\nb\r", "c\r", "\r", "\n", "d", "\r"]),
            "a\nb\rc\r\nd\r"
        );
    }

    #[test]
    fn secrets_are_masked_across_writes_and_carriage_returns() {
        assert_eq!(log_of(&["pass hun", "ter", "2\n"]), "pass ***\n");
        assert_eq!(log_of(&["{\r", "\nsecret two\n"]), "***\n");
        assert_eq!(log_of(&["the end hunt"]), "the end hunt");
    }

    #[test]
    fn our_own_lines_stand_alone_are_masked_and_do_not_uncover_a_secret() {
        let mut backlog = backlog(UNLIMITED);
        backlog.own_line("begin with hunter2");
        backlog.write(b"half hun");
        backlog.own_line("canceling\n");
        backlog.write(b"ter2\nrest\n");
        backlog.own_line("done");
        assert_eq!(
            drained(&mut backlog),
            "begin with ***\nhalf \ncanceling\n***\nrest\ndone\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_and_says_by_how_much() {
        let mut backlog = backlog(UNLIMITED);
        backlog.write(&[b'x'; MAX_LINE]);
        backlog.write(b"\n");
        assert_eq!(
            drained(&mut backlog),
            format!("{}\n", "x".repeat(MAX_LINE)),
            "the longest line is whole"
        );
        for _ in 0..3 {
            backlog.write(&[b'y'; 50_000]);
        }
        backlog.write(b"\nnext\n");
        let cut = 150_000 - MAX_LINE;
        let expected = format!("{} [... {cut} bytes of this line cut]\nnext\n", "y".repeat(MAX_LINE));
        assert_eq!(drained(&mut backlog), expected);
        backlog.write(&[b'z'; MAX_LINE + 7]);
        backlog.close();
        assert!(drained(&mut backlog).ends_with("z [... 7 bytes of this line cut]\n"));
        let mut own = self::backlog(UNLIMITED);
        own.own_line(&"o".repeat(MAX_LINE + 9));
        assert!(drained(&mut own).ends_with("o [... 9 bytes of this line cut]\n"));
    }

    #[test]
    fn an_endless_line_needs_no_memory() {
        let mut backlog = backlog(UNLIMITED);
        let block = vec![b'x'; 1024 * 1024];
        for _ in 0..64 {
            backlog.write(&block);
            assert!(backlog.waiting() <= MAX_LINE, "{}", backlog.waiting());
            assert!(backlog.queue.capacity() <= 4 * MAX_LINE);
        }
        backlog.write(b"\n");
        let cut = 64 * 1024 * 1024 - MAX_LINE;
        assert!(drained(&mut backlog).ends_with(&format!("x [... {cut} bytes of this line cut]\n")));
    }

    #[test]
    fn the_whole_log_is_limited_and_our_lines_still_tell_the_end() {
        let mut backlog = backlog(1024 * 1024);
        for number in 0..200_000 {
            backlog.write(format!("line {number}\n").as_bytes());
        }
        for number in 0..10_000 {
            backlog.own_line(&format!("own {number}"));
        }
        backlog.close();
        let log = drained(&mut backlog);
        let marker = "\n[log limit of 1 MiB reached; what follows is dropped]\n";
        assert_eq!(log.matches(marker).count(), 1);
        let (before, after) = log.split_once(marker).unwrap();
        assert!(
            before.len() <= 1024 * 1024 && before.len() > 1024 * 1024 - 20,
            "{}",
            before.len()
        );
        assert!(after.starts_with("own 0\nown 1\n"), "{after}");
        assert!(log.len() <= 1024 * 1024 + RESERVE, "{}", log.len());
    }

    #[test]
    fn a_line_of_our_own_that_meets_the_limit_tells_it() {
        let mut backlog = backlog(1000);
        backlog.write(b"x\n");
        backlog.own_line(&"o".repeat(999));
        backlog.write(b"gone\n");
        let log = drained(&mut backlog);
        assert!(
            log.starts_with("x\n[log limit of 1000 bytes reached; what follows is dropped]\nooo"),
            "{log}"
        );
        assert!(!log.contains("gone"));
    }

    #[test]
    fn the_bytes_of_earlier_attempts_count() {
        let masker = Arc::new(Masker::new([]).unwrap());
        let mut backlog = Backlog::new(masker, 1000, 1000);
        backlog.write(b"more\n");
        backlog.own_line("the end");
        assert_eq!(
            drained(&mut backlog),
            "\n[log limit of 1000 bytes reached; what follows is dropped]\nthe end\n"
        );
    }

    #[test]
    fn a_further_attempt_does_not_continue_the_line_in_which_the_last_one_stopped() {
        let mut backlog = Backlog::new(Arc::new(Masker::new([]).unwrap()), UNLIMITED, 7);
        backlog.own_line("attempt 2");
        assert_eq!(drained(&mut backlog), "\nattempt 2\n");
    }

    #[test]
    fn what_cannot_be_stored_in_time_is_dropped_by_whole_lines_and_counted() {
        let mut backlog = backlog(UNLIMITED);
        for number in 0..1_000_000 {
            backlog.write(format!("line {number}\n").as_bytes());
            if number % 1000 == 0 {
                assert!(backlog.waiting() <= CAPACITY);
            }
        }
        let first = drained(&mut backlog);
        backlog.write(b"there is room again\n");
        backlog.close();
        let second = drained(&mut backlog);

        let kept = first.lines().count();
        for (number, line) in first.lines().enumerate() {
            assert_eq!(line, format!("line {number}"));
        }
        let dropped_bytes: usize = (kept..1_000_000).map(|number| format!("line {number}\n").len()).sum();
        let dropped = 1_000_000 - kept;
        let reason = "dropped: the log came faster than it could be stored";
        assert_eq!(
            second,
            format!("[{dropped} lines ({dropped_bytes} bytes) {reason}]\nthere is room again\n")
        );
    }

    #[test]
    fn losses_at_the_end_are_told_and_our_lines_pass_while_others_are_dropped() {
        let mut backlog = backlog(UNLIMITED);
        while backlog.dropped.lines == 0 {
            backlog.write(&[&[b'x'; 999][..], b"\n"].concat());
        }
        backlog.write(b"half a line");
        backlog.own_line("important");
        backlog.write(b", the other half");
        backlog.close();
        let log = drained(&mut backlog);
        let reason = "dropped: the log came faster than it could be stored";
        assert!(
            log.ends_with(&format!("x\nimportant\n[2 lines (1027 bytes) {reason}]\n")),
            "{}",
            &log[log.len() - 200..]
        );
    }

    #[test]
    fn a_flood_of_our_own_lines_is_bounded_too() {
        let mut backlog = backlog(UNLIMITED);
        for _ in 0..200 {
            backlog.own_line(&"o".repeat(60_000));
            assert!(backlog.waiting() <= CAPACITY + RESERVE);
        }
        assert!(backlog.dropped.lines > 0);
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut backlog = backlog(UNLIMITED);
        backlog.write(b"a\n");
        backlog.close();
        backlog.write(b"b\n");
        backlog.own_line("c");
        backlog.close();
        assert_eq!(drained(&mut backlog), "a\n");
    }
}
