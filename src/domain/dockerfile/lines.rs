//! Cuts a Dockerfile into instructions: joins continued lines, leaves out comments and the bodies of heredocs, and
//! remembers where every byte stood.

use std::ops::Range;

use super::{
    heredoc,
    words::{is_space, split_instruction},
};

/// The escape character unless the directive `escape` names the other one.
pub(super) const BACKSLASH: u8 = b'\\';

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A Dockerfile, cut up.
pub(super) struct Lines {
    pub(super) escape: u8,
    pub(super) instructions: Vec<Logical>,
    /// The value of the directive `syntax`.
    pub(super) syntax: Option<Directive>,
}

/// The value of a directive.
pub(super) struct Directive {
    /// From 1.
    pub(super) line: usize,
    pub(super) span: Range<usize>,
}

/// One instruction on one line, however many it was written on.
#[derive(Debug, Clone)]
pub(super) struct Logical {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) text: Vec<u8>,
    /// For each piece: where it begins in `text`, and where it begins in the file.
    pieces: Vec<(usize, usize)>,
}

impl Logical {
    /// Where a range of the text stands in the file.
    pub(super) fn span(&self, range: Range<usize>) -> Range<usize> {
        match range.end.checked_sub(1) {
            Some(last) if last >= range.start => self.place(range.start)..self.place(last) + 1,
            _ => {
                let at = self.place(range.start);
                at..at
            }
        }
    }

    fn place(&self, at: usize) -> usize {
        let piece = self.pieces.partition_point(|&(begin, _)| begin <= at).saturating_sub(1);
        self.pieces
            .get(piece)
            .map_or(at, |&(begin, place)| place + (at - begin))
    }
}

/// Cuts a Dockerfile up. Linear in its length.
pub(super) fn read(dockerfile: &[u8]) -> Lines {
    let mut physical = physical_lines(dockerfile).peekable();
    let mut lines = Lines {
        escape: BACKSLASH,
        instructions: Vec::new(),
        syntax: None,
    };
    let mut in_directives = true;
    while let Some(first) = physical.next() {
        let (text, begin) = trim_start(first.text, first.begin);
        in_directives = in_directives && lines.directive(&first, text, begin);
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        let mut logical = Logical {
            line: first.number,
            text: Vec::new(),
            pieces: Vec::new(),
        };
        let mut continued = logical.take(text, begin, lines.escape);
        while continued {
            let Some(next) = physical.next() else { break };
            let (trimmed, _) = trim_start(next.text, next.begin);
            if !trimmed.is_empty() && !trimmed.starts_with(b"#") {
                continued = logical.take(next.text, next.begin, lines.escape);
            }
        }
        for body in heredoc::bodies(&logical.text) {
            // One that does not end takes the rest of the file; the builder refuses it.
            physical.by_ref().find(|line| body.ends_at(line.text));
        }
        if !logical.text.trim_ascii().is_empty() {
            lines.instructions.push(logical);
        }
    }
    lines
}

impl Lines {
    /// Takes a line that may be a directive; says whether the next one may be.
    fn directive(&mut self, line: &Physical<'_>, text: &[u8], begin: usize) -> bool {
        let Some((key, value)) = directive(text) else {
            return false;
        };
        match key.to_ascii_lowercase().as_slice() {
            b"escape" => match &text[value] {
                [escape @ (b'\\' | b'`')] => self.escape = *escape,
                _ => return false,
            },
            b"syntax" if self.syntax.is_none() => {
                let span = begin + value.start..begin + value.end;
                self.syntax = Some(Directive {
                    line: line.number,
                    span,
                });
            }
            b"syntax" | b"check" => {}
            _ => return false,
        }
        true
    }
}

/// `# key = value`: the key, and where the value stands.
fn directive(text: &[u8]) -> Option<(&[u8], Range<usize>)> {
    let equals = text.iter().position(|&c| c == b'=')?;
    let key = text.strip_prefix(b"#")?.get(..equals - 1)?.trim_ascii();
    let is_key = key.first().is_some_and(u8::is_ascii_alphabetic) && key.iter().all(u8::is_ascii_alphanumeric);
    let value = text[equals + 1..].trim_ascii();
    let start = text.len() - text[equals + 1..].trim_ascii_start().len();
    (is_key && !value.is_empty()).then_some((key, start..start + value.len()))
}

impl Logical {
    /// Adds a line; says whether the next one continues it.
    fn take(&mut self, text: &[u8], begin: usize, escape: u8) -> bool {
        let trimmed_len = text.len() - text.iter().rev().take_while(|&&c| matches!(c, b' ' | b'\t')).count();
        // Two escapes are an escaped escape and continue nothing.
        let continued = match &text[..trimmed_len] {
            [.., before, last] => *last == escape && *before != escape,
            [last] => *last == escape,
            [] => false,
        };
        let kept = if continued { &text[..trimmed_len - 1] } else { text };
        self.pieces.push((self.text.len(), begin));
        self.text.extend_from_slice(kept);
        continued
    }
}

/// A line of the file without its end.
struct Physical<'a> {
    number: usize,
    text: &'a [u8],
    /// Its first byte's place in the file.
    begin: usize,
}

fn physical_lines(dockerfile: &[u8]) -> impl Iterator<Item = Physical<'_>> {
    let mut begin = 0;
    dockerfile.split(|&c| c == b'\n').enumerate().map(move |(index, line)| {
        let mark = if index == 0 && line.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let returns = line.iter().rev().take_while(|&&c| c == b'\r').count();
        let physical = Physical {
            number: index + 1,
            text: line.get(mark..line.len() - returns).unwrap_or_default(),
            begin: begin + mark,
        };
        begin += line.len() + 1;
        physical
    })
}

fn trim_start(text: &[u8], begin: usize) -> (&[u8], usize) {
    let spaces = text.iter().take_while(|&&c| is_space(c)).count();
    (&text[spaces..], begin + spaces)
}

/// The instruction's word, in capitals.
pub(super) fn keyword(text: &[u8]) -> Vec<u8> {
    split_instruction(text).keyword.to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instructions(dockerfile: &str) -> Vec<(usize, String)> {
        read(dockerfile.as_bytes())
            .instructions
            .iter()
            .map(|i| (i.line, String::from_utf8(i.text.clone()).unwrap()))
            .collect()
    }

    #[test]
    fn a_place_in_a_joined_line_is_a_place_in_the_file() {
        let file = "\u{feff}FROM \\\r\n# comment\n\n  alp\\  \nine\r\n";
        let lines = read(file.as_bytes());
        let logical = &lines.instructions[0];
        assert_eq!(logical.text, b"FROM   alpine");
        let span = logical.span(7..13);
        assert_eq!(&file[span], "alp\\  \nine");
    }

    #[test]
    fn two_escapes_at_a_lines_end_continue_nothing() {
        assert_eq!(
            instructions("RUN a\\\\\nRUN b\\\nc"),
            [(1, "RUN a\\\\".to_owned()), (2, "RUN bc".to_owned())]
        );
    }

    #[test]
    fn a_file_that_ends_in_a_continuation_or_a_heredoc_ends() {
        assert_eq!(instructions("FROM a\\"), [(1, "FROM a".to_owned())]);
        assert_eq!(instructions("RUN <<EOF\nFROM a"), [(1, "RUN <<EOF".to_owned())]);
        assert_eq!(instructions("\\\n\\\n"), []);
    }
}
