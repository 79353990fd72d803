//! Cuts an instruction into its word, its flags and its arguments, each with its place.

use std::ops::Range;

/// White space as the builder's reader has it, in ASCII.
pub(super) fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

/// An instruction, cut once.
pub(super) struct Instruction<'a> {
    text: &'a [u8],
    pub(super) keyword: &'a [u8],
    /// What follows the keyword.
    pub(super) rest: Range<usize>,
}

pub(super) fn split_instruction(text: &[u8]) -> Instruction<'_> {
    let begin = text.iter().take_while(|&&c| is_space(c)).count();
    let length = text[begin..].iter().take_while(|&&c| !is_space(c)).count();
    Instruction {
        text,
        keyword: &text[begin..begin + length],
        rest: begin + length..text.len(),
    }
}

impl Instruction<'_> {
    /// The flags before the arguments: `--from=x`.
    pub(super) fn flags(&self) -> Vec<Flag> {
        self.flags_and_arguments().0
    }

    /// What follows the flags.
    pub(super) fn arguments(&self) -> Vec<u8> {
        self.text[self.flags_and_arguments().1..].to_vec()
    }

    /// The arguments, split at white space alone, with their places.
    pub(super) fn plain_words(&self) -> Vec<Range<usize>> {
        let begin = self.flags_and_arguments().1;
        let mut words = Vec::new();
        let mut start = None;
        for at in begin..=self.text.len() {
            let in_word = self.text.get(at).is_some_and(|&c| !is_space(c));
            match (start, in_word) {
                (None, true) => start = Some(at),
                (Some(from), false) => {
                    words.push(from..at);
                    start = None;
                }
                _ => {}
            }
        }
        words
    }

    fn flags_and_arguments(&self) -> (Vec<Flag>, usize) {
        let mut flags = Vec::new();
        let mut at = self.rest.start;
        loop {
            at += self.text[at..].iter().take_while(|&&c| is_space(c)).count();
            if !self.text[at..].starts_with(b"--") {
                return (flags, at);
            }
            let (flag, end) = flag(self.text, at);
            at = end;
            // Two dashes alone end the flags.
            if flag.0.len() == 2 {
                return (flags, at);
            }
            flags.push(flag);
        }
    }
}

/// A flag without its quotes.
pub(super) struct Flag(Vec<FlagByte>);

/// One byte of a flag.
#[derive(Clone, Copy)]
pub(super) struct FlagByte {
    byte: u8,
    /// Its place, with the escape before it.
    begin: usize,
    end: usize,
    /// The quote around it.
    quote: Option<u8>,
}

/// A flag's quotes are taken away and its backslashes escape, whatever the Dockerfile's own escape character is.
fn flag(text: &[u8], begin: usize) -> (Flag, usize) {
    let (mut bytes, mut quote, mut at) = (Vec::new(), None, begin);
    while let Some(&c) = text.get(at) {
        match quote {
            None if is_space(c) => break,
            None if matches!(c, b'"' | b'\'') => quote = Some(c),
            Some(end) if c == end => quote = None,
            _ => {
                let escaped = c == b'\\';
                let end = at + usize::from(escaped);
                match text.get(end) {
                    Some(&byte) => bytes.push(FlagByte {
                        byte,
                        begin: at,
                        end: end + 1,
                        quote,
                    }),
                    None => return (Flag(bytes), text.len()),
                }
                at = end;
            }
        }
        at += 1;
    }
    (Flag(bytes), at)
}

/// A part of a flag.
pub(super) struct Part {
    pub(super) text: Vec<u8>,
    /// Where another text can be put in its place; `None` where quotes begin or end in its midst.
    pub(super) range: Option<Range<usize>>,
}

impl Flag {
    /// The value of `--name=value`, if this is that flag.
    pub(super) fn value(&self, name: &str) -> Option<&[FlagByte]> {
        let head = format!("--{name}=");
        let begins = self.0.len() >= head.len() && self.0.iter().zip(head.bytes()).all(|(c, h)| c.byte == h);
        begins.then(|| &self.0[head.len()..])
    }
}

/// A value as one part.
pub(super) fn part(bytes: &[FlagByte]) -> Part {
    let range = match bytes {
        [] => None,
        [first, .., last] if first.quote != last.quote => None,
        [first, ..] => bytes.last().map(|last| first.begin..last.end),
    };
    Part {
        text: bytes.iter().map(|c| c.byte).collect(),
        range,
    }
}

/// The fields of a mount: `type=bind,from=x`, as in a line of comma-separated values.
pub(super) fn fields(value: &[FlagByte]) -> Vec<Vec<FlagByte>> {
    let mut fields = vec![Vec::new()];
    let mut quoted = false;
    let mut bytes = value.iter().peekable();
    while let Some(c) = bytes.next() {
        let field = fields.last_mut();
        match c.byte {
            b'"' if quoted && bytes.peek().is_some_and(|next| next.byte == b'"') => {
                field.into_iter().for_each(|field| field.push(*c));
                bytes.next();
            }
            b'"' if quoted => quoted = false,
            b'"' if field.as_ref().is_some_and(|field| field.is_empty()) => quoted = true,
            b',' if !quoted => fields.push(Vec::new()),
            _ => field.into_iter().for_each(|field| field.push(*c)),
        }
    }
    fields
}

/// The value of one field, if it is `key=value` of that key in any case.
pub(super) fn field_value<'a>(field: &'a [FlagByte], key: &str) -> Option<&'a [FlagByte]> {
    let length = key.len();
    let begins = field.len() > length
        && field[length].byte == b'='
        && field
            .iter()
            .zip(key.bytes())
            .all(|(c, k)| c.byte.to_ascii_lowercase() == k);
    begins.then(|| &field[length + 1..])
}

/// Splits the arguments of `ARG` as the builder does: at white space outside of quotes, which stay.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut started = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_whitespace() => {
                if started {
                    words.push(std::mem::take(&mut word));
                    started = false;
                }
                continue;
            }
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(end) if c == end => quote = None,
            _ => {}
        }
        started = true;
        if c == escape && quote != Some('\'') {
            // At the very end it is left out.
            if let Some(next) = chars.next() {
                word.push(c);
                word.push(next);
            }
        } else {
            word.push(c);
        }
    }
    if started && !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flags_value_stands_between_its_quotes() {
        let check = |text: &str, expected: &str, span: Option<&str>| {
            let instruction = split_instruction(text.as_bytes());
            let flags = instruction.flags();
            let value = flags.iter().find_map(|flag| flag.value("from")).unwrap();
            let part = part(value);
            assert_eq!(String::from_utf8(part.text).unwrap(), expected, "{text}");
            assert_eq!(part.range.map(|range| &text[range]), span, "{text}");
        };
        check("COPY --chown=a --from=alpine / /", "alpine", Some("alpine"));
        check("COPY --from=\"alpine\" / /", "alpine", Some("alpine"));
        check("COPY --fr'om'=al\"p\"ine / /", "alpine", Some("al\"p\"ine"));
        check("COPY --from=al\\pine / /", "alpine", Some("al\\pine"));
        check("COPY --from=al\"pine\" / /", "alpine", None);
        check("COPY --from= / /", "", None);
    }

    #[test]
    fn flags_end_at_the_first_argument_and_at_two_dashes() {
        let count = |text: &str| split_instruction(text.as_bytes()).flags().len();
        assert_eq!(count("COPY a --from=b /"), 0);
        assert_eq!(count("COPY -- --from=b /"), 0);
        assert_eq!(count("RUN --mount=a --mount=b x"), 2);
    }

    #[test]
    fn arguments_are_split_outside_of_quotes() {
        assert_eq!(quoted_words(r#"A="x y" B=z\ z C"#, '\\'), ["A=\"x y\"", "B=z\\ z", "C"]);
        assert!(quoted_words("  ", '\\').is_empty());
    }
}
