//! The patterns of `${name#pattern}` and its like: `*` is any text, `?` any one character, `\` escapes.

use regex::{NoExpand, Regex, RegexBuilder};

/// Longest pattern, in bytes.
const MAX_LENGTH: usize = 1000;

/// Most memory of a compiled pattern, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// A pattern that was read.
pub(super) struct Pattern(Vec<Token>);

enum Token {
    Any,
    One,
    Char(char),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err("a pattern is too long".to_owned());
        }
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(next @ ('*' | '?' | '\\' | '}' | '/')) => Token::Char(next),
                    _ => return Err("a pattern has a `\\` that escapes nothing".to_owned()),
                },
                c => Token::Char(c),
            });
        }
        Ok(Self(tokens))
    }

    /// `anchored`: only at the text's beginning. `reversed`: for a text that is read from its end.
    fn compile(&self, greedy: bool, anchored: bool, reversed: bool) -> Option<Regex> {
        let mut source = String::from(if anchored { "^" } else { "" });
        let mut add = |token: &Token| match token {
            Token::Any if greedy => source.push_str(".*"),
            Token::Any => source.push_str(".*?"),
            Token::One => source.push('.'),
            Token::Char(c) => source.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        };
        match reversed {
            true => self.0.iter().rev().for_each(&mut add),
            false => self.0.iter().for_each(&mut add),
        }
        RegexBuilder::new(&source).size_limit(MAX_COMPILED).build().ok()
    }
}

pub(super) fn without_prefix(value: &str, pattern: &Pattern, longest: bool) -> String {
    let end = pattern
        .compile(longest, true, false)
        .and_then(|regex| regex.find(value).map(|found| found.end()))
        .unwrap_or_default();
    value[end..].to_owned()
}

pub(super) fn without_suffix(value: &str, pattern: &Pattern, longest: bool) -> String {
    let reversed: String = value.chars().rev().collect();
    let length = pattern
        .compile(longest, true, true)
        .and_then(|regex| regex.find(&reversed).map(|found| found.end()))
        .unwrap_or_default();
    value[..value.len() - length].to_owned()
}

/// The first match, or all, replaced; `None` where the result would be longer than `most` bytes.
pub(super) fn replaced(value: &str, pattern: &Pattern, by: &str, all: bool, most: usize) -> Option<String> {
    let Some(regex) = pattern.compile(true, false, false) else {
        return Some(value.to_owned());
    };
    let matches = if all { value.chars().count() + 1 } else { 1 };
    if matches.saturating_mul(by.len()).saturating_add(value.len()) > most.saturating_mul(64) {
        return None;
    }
    let result = match all {
        true => regex.replace_all(value, NoExpand(by)),
        false => regex.replace(value, NoExpand(by)),
    };
    (result.len() <= most).then(|| result.into_owned())
}
