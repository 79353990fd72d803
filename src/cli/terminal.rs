//! Text from outside, made harmless for a terminal: colours stay, everything else that a terminal obeys goes.
//!
//! Without this a log line could set the window's title, write to the clipboard (OSC 52), move the cursor over earlier
//! output or make the terminal answer.

/// Longest control sequence that is waited for, in bytes; a longer colour is none.
const MAX_SEQUENCE: usize = 64;

/// Takes a stream in pieces; a control sequence may be split between them.
#[derive(Debug, Default)]
pub struct Sanitiser {
    state: State,
    sequence: Vec<u8>,
    /// The beginning of a UTF-8 character whose rest has not come yet.
    partial: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte (0x20 to 0x2f): one more byte belongs to it.
    Intermediate,
    /// In CSI, to its final byte.
    Csi,
    /// In OSC, DCS, APC, PM or SOS, to BEL or ST.
    String,
    /// In one of these, after ESC.
    StringEscape,
}

impl Sanitiser {
    /// What of this piece may be shown.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        self.partial.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.partial);
        let mut shown = String::with_capacity(bytes.len());
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|c| self.step(c, &mut shown));
            let invalid = chunk.invalid();
            if chunks.peek().is_none() && is_beginning(invalid) {
                self.partial = invalid.to_vec();
            } else if !invalid.is_empty() {
                self.step(char::REPLACEMENT_CHARACTER, &mut shown);
            }
        }
        shown.into_bytes()
    }

    fn step(&mut self, c: char, shown: &mut String) {
        // CAN and SUB end every sequence, on real terminals too.
        if matches!(c, '\x18' | '\x1a') {
            self.state = State::Text;
            return;
        }
        self.state = match (self.state, c) {
            (State::String, '\x07' | '\u{9c}') => State::Text,
            (State::String, '\x1b') => State::StringEscape,
            (State::String, _) => State::String,
            (State::StringEscape, '\\') => State::Text,
            // ESC ends the string whatever follows it.
            (State::StringEscape, c) => self.after_escape(c),
            // The eight-bit forms of ESC [ and of the strings.
            (_, '\u{9b}') => self.begin_csi(),
            (_, '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => State::String,
            (_, '\x1b') => State::Escape,
            (State::Escape, c) => self.after_escape(c),
            (State::Intermediate, ' '..='/') => State::Intermediate,
            (State::Intermediate, _) => State::Text,
            (State::Csi, '\x40'..='\x7e') => {
                if c == 'm' && self.is_colour() {
                    shown.push_str("\x1b[");
                    shown.push_str(&String::from_utf8_lossy(&self.sequence));
                    shown.push('m');
                }
                State::Text
            }
            (State::Csi, ' '..='?') => {
                if self.sequence.len() <= MAX_SEQUENCE {
                    self.sequence.push(c as u8);
                }
                State::Csi
            }
            // Not a sequence after all, or a control character within it.
            (State::Csi, '\n') => {
                shown.push('\n');
                State::Text
            }
            (State::Csi, _) => State::Text,
            (State::Text, c) => {
                push_text(c, shown);
                State::Text
            }
        };
    }

    fn begin_csi(&mut self) -> State {
        self.sequence.clear();
        State::Csi
    }

    fn after_escape(&mut self, c: char) -> State {
        match c {
            ']' | 'P' | '_' | '^' | 'X' => State::String,
            '[' => self.begin_csi(),
            ' '..='/' => State::Intermediate,
            _ => State::Text,
        }
    }

    /// Parameters of SGR alone: digits and their separators.
    fn is_colour(&self) -> bool {
        self.sequence.len() <= MAX_SEQUENCE
            && self
                .sequence
                .iter()
                .all(|c| c.is_ascii_digit() || matches!(c, b';' | b':'))
    }
}

fn push_text(c: char, shown: &mut String) {
    match c {
        '\n' | '\t' => shown.push(c),
        // Carriage return would let a line be written over what was shown before.
        c if c.is_control() => {}
        // Bidirectional controls make a line read other than it is.
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
        c => shown.push(c),
    }
}

/// Whether bytes at the end of a piece can become a character with those of the next one.
fn is_beginning(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() < 4 && std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let whole = Sanitiser::default().feed(input.as_bytes());
        assert_eq!(String::from_utf8(whole).unwrap(), expected, "{input:?}");
        let mut sanitiser = Sanitiser::default();
        let single: Vec<u8> = input.bytes().flat_map(|byte| sanitiser.feed(&[byte])).collect();
        assert_eq!(String::from_utf8(single).unwrap(), expected, "{input:?}, byte by byte");
    }

    #[test]
    fn text_and_colours_stay() {
        check("plain\ttext ✓ 日本\n", "plain\ttext ✓ 日本\n");
        check("\x1b[1;31mred\x1b[0m\x1b[m", "\x1b[1;31mred\x1b[0m\x1b[m");
        check("\x1b[38:2::1:2:3mx", "\x1b[38:2::1:2:3mx");
    }

    #[test]
    fn everything_else_that_a_terminal_obeys_goes() {
        check("\x1b]0;title\x07x", "x");
        check("\x1b]52;c;Y2xpcA==\x1b\\x", "x");
        check("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link");
        check("\x1b[2J\x1b[1;1H\x1b[?1049hx", "x");
        check("\x1b[6n\x1b[>cx", "x");
        check("\x1b[>4;1mx", "x");
        check("\x1bP+q544e\x1b\\x\x1b_apc\x1b\\y\x1b^pm\x1b\\z\x1bXsos\x1b\\", "xyz");
        check("\u{9b}2Jx\u{9d}0;t\u{9c}y", "xy");
        check("\x1b(0x\x1b#8\x1bcy", "xy");
        check("a\rb\x08c\x00d\x07\x7f", "abcd");
        check("\u{202e}x\u{2066}", "x");
        check("\x1b]0;unfinished", "");
        check("\x1b]0;cut\x18x", "x");
    }

    #[test]
    fn an_escape_ends_a_string_and_begins_the_next_sequence() {
        check("\x1b]0;t\x1b]52;c;x\x07y", "y");
        check("\x1b]0;t\x1b[31mx", "\x1b[31mx");
    }

    #[test]
    fn an_endless_sequence_takes_no_memory_and_shows_nothing() {
        let mut sanitiser = Sanitiser::default();
        let long = format!("\x1b[{}mx", "1;".repeat(100_000));
        assert_eq!(sanitiser.feed(long.as_bytes()), b"x");
        assert!(sanitiser.sequence.len() <= MAX_SEQUENCE + 1);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(Sanitiser::default().feed(b"a\xffb"), "a\u{fffd}b".as_bytes());
    }
}
