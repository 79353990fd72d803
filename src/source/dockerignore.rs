//! The pattern language of `.dockerignore`, with the semantics of Docker's own matcher (moby/patternmatcher).
//!
//! Patterns are tried in order and the last that matches decides; `!` brings back. A pattern that matches a directory
//! matches all that is in it. Paths are bytes: what is not UTF-8 counts as one unknown character a byte, as in Go.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

use regex::{Regex, RegexBuilder};

/// No file that a person wrote has more, and each is tried on every path.
const MAX_PATTERNS: usize = 5_000;

/// Of one compiled pattern, in bytes.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

const WILDCARDS: [char; 6] = ['*', '[', ']', '?', '^', '\\'];

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadPattern {
    #[error("`{0}` is no pattern: see the syntax of .dockerignore")]
    Syntax(String),
    #[error("more than {MAX_PATTERNS} patterns are given")]
    TooMany,
}

/// A list of patterns, in order.
#[derive(Debug)]
pub(super) struct Patterns(Vec<Pattern>);

/// What a list says of one path; needed again for the paths below it.
#[derive(Debug, Default)]
pub(super) struct Matched {
    matched: bool,
    by: Vec<bool>,
}

impl Matched {
    pub(super) fn is_match(&self) -> bool {
        self.matched
    }
}

#[derive(Debug)]
struct Pattern {
    /// It begins with `!`.
    exception: bool,
    /// Cleaned, and without the `!`.
    text: String,
    matcher: Matcher,
}

#[derive(Debug)]
enum Matcher {
    Exact,
    /// `text` ends with its only wildcard, `**`.
    Prefix,
    /// `text` begins with its only wildcard, `**`.
    Suffix,
    Regex(Regex),
}

impl Patterns {
    pub(super) fn parse(lines: &[String]) -> Result<Self, BadPattern> {
        if lines.len() > MAX_PATTERNS {
            return Err(BadPattern::TooMany);
        }
        let lines = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
        Ok(Self(lines.map(Pattern::parse).collect::<Result<_, _>>()?))
    }

    /// Tries a path, whose directory gave `above` (nothing at the top). Paths are relative and clean.
    pub(super) fn check(&self, path: &[u8], above: Option<&Matched>) -> Matched {
        let text = as_text(path);
        let mut matched = false;
        let mut by = Vec::with_capacity(self.0.len());
        for (number, pattern) in self.0.iter().enumerate() {
            let inherited = above.is_some_and(|above| above.by.get(number) == Some(&true));
            // A pattern that could change nothing need not be tried.
            let hit = inherited || (pattern.exception == matched && pattern.is_match(path, &text));
            by.push(hit);
            if hit {
                matched = !pattern.exception;
            }
        }
        Matched { matched, by }
    }

    /// Whether a pattern without `!` may match something in a directory that is not matched itself.
    pub(super) fn may_match_below(&self, directory: &[u8]) -> bool {
        self.may_hit_below(directory, false)
    }

    /// Whether a pattern with `!` may bring back something in a directory that is matched.
    pub(super) fn may_except_below(&self, directory: &[u8]) -> bool {
        self.may_hit_below(directory, true)
    }

    fn may_hit_below(&self, directory: &[u8], exception: bool) -> bool {
        let below = [directory, b"/"].concat();
        self.0
            .iter()
            .filter(|pattern| pattern.exception == exception)
            .any(|pattern| {
                let text = pattern.text.strip_suffix("/**").unwrap_or(&pattern.text);
                let text = text.strip_suffix("/*").unwrap_or(text);
                text.contains(WILDCARDS) || format!("{text}/").as_bytes().starts_with(&below)
            })
    }
}

impl Pattern {
    fn parse(line: &str) -> Result<Self, BadPattern> {
        let syntax = || BadPattern::Syntax(line.chars().take(200).collect());
        let (exception, text) = match line.strip_prefix('!') {
            Some(text) => (true, text.trim()),
            None => (false, line),
        };
        if text.is_empty() {
            return Err(syntax());
        }
        let cleaned = clean(text);
        let text = match cleaned.strip_prefix('/') {
            Some(relative) if !relative.is_empty() => relative.to_owned(),
            _ => cleaned,
        };
        let matcher = compile(&text).ok_or_else(syntax)?;
        Ok(Self {
            exception,
            text,
            matcher,
        })
    }

    /// `text` is `path`, readable.
    fn is_match(&self, path: &[u8], text: &str) -> bool {
        match &self.matcher {
            Matcher::Exact => path == self.text.as_bytes(),
            Matcher::Prefix => path.starts_with(&self.text.as_bytes()[..self.text.len() - 2]),
            Matcher::Suffix => {
                let suffix = &self.text.as_bytes()[2..];
                path.ends_with(suffix) || suffix.strip_prefix(b"/").is_some_and(|name| path == name)
            }
            Matcher::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Follows moby's translation step by step, since its corners are what people's files rely on. `None` if the pattern
/// is malformed.
fn compile(pattern: &str) -> Option<Matcher> {
    let mut regex = "^".to_owned();
    let mut matcher = Matcher::Exact;
    let mut is_regex = false;
    let mut chars = pattern.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                // `**/` is `**`.
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    regex.push_str("(?:.*/)?");
                    is_regex = !first;
                } else if matches!(matcher, Matcher::Exact) && !is_regex {
                    matcher = Matcher::Prefix;
                } else {
                    regex.push_str(".*");
                    is_regex = true;
                }
                if first {
                    matcher = Matcher::Suffix;
                }
            }
            '*' => {
                regex.push_str("[^/]*");
                is_regex = true;
            }
            '?' => {
                regex.push_str("[^/]");
                is_regex = true;
            }
            '[' => {
                class(&mut chars, &mut regex)?;
                is_regex = true;
            }
            '\\' => {
                push_literal(&mut regex, chars.next()?);
                is_regex = true;
            }
            c => push_literal(&mut regex, c),
        }
        first = false;
    }
    if !is_regex {
        return Some(matcher);
    }
    regex.push('$');
    let built = RegexBuilder::new(&regex)
        .dot_matches_new_line(true)
        .size_limit(REGEX_SIZE_LIMIT)
        .build();
    built.ok().map(Matcher::Regex)
}

/// A character class after its `[`: ranges as Go's `filepath.Match` has them, negated by `^`.
fn class(chars: &mut Peekable<Chars<'_>>, regex: &mut String) -> Option<()> {
    regex.push('[');
    if chars.next_if_eq(&'^').is_some() {
        regex.push('^');
    }
    let mut empty = true;
    loop {
        if !empty && chars.next_if_eq(&']').is_some() {
            regex.push(']');
            return Some(());
        }
        push_class_literal(regex, class_char(chars)?);
        if chars.next_if_eq(&'-').is_some() {
            regex.push('-');
            push_class_literal(regex, class_char(chars)?);
        }
        empty = false;
    }
}

fn class_char(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

fn push_literal(regex: &mut String, c: char) {
    regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

fn push_class_literal(regex: &mut String, c: char) {
    regex.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
}

/// Like Go's `filepath.Clean`: by text alone.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

/// Whether a name is more than itself.
pub(super) fn has_wildcard(name: &str) -> bool {
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// Tells which names match a pattern without slashes; a malformed pattern matches nothing.
pub(super) fn name_matcher(pattern: &str) -> impl Fn(&[u8]) -> bool {
    let pattern = Pattern::parse(pattern).ok();
    move |name| {
        pattern
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(name, &as_text(name)))
    }
}

/// A pattern for exactly this name. For bytes that are no UTF-8 it has `?`.
pub(super) fn escape(name: &[u8]) -> String {
    let mut pattern = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                // White space at an end would be trimmed.
                c if c.is_whitespace() => pattern.extend(['[', c, ']']),
                c if WILDCARDS.contains(&c) || c == '!' => pattern.extend(['\\', c]),
                c => pattern.push(c),
            }
        }
        pattern.extend(chunk.invalid().iter().map(|_| '?'));
    }
    pattern
}

fn as_text(path: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(path) {
        return Cow::Borrowed(text);
    }
    let mut text = String::new();
    for chunk in path.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a list matches a path that is walked to from the top.
    fn matched(lines: &[&str], path: &[u8]) -> bool {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let patterns = Patterns::parse(&lines).unwrap();
        let mut above = None;
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(end, _)| end);
        for end in ends.chain([path.len()]) {
            above = Some(patterns.check(&path[..end], above.as_ref()));
        }
        above.unwrap().is_match()
    }

    fn check(lines: &[&str], hits: &[&str], misses: &[&str]) {
        for hit in hits {
            assert!(matched(lines, hit.as_bytes()), "{lines:?} must match {hit:?}");
        }
        for miss in misses {
            assert!(!matched(lines, miss.as_bytes()), "{lines:?} must not match {miss:?}");
        }
    }

    #[test]
    fn plain_names_match_from_the_top_with_all_that_is_in_them() {
        check(&["a"], &["a", "a/b", "a/b/c"], &["b", "b/a", "ab", "A"]);
        check(&["a/"], &["a", "a/b"], &["b/a"]);
        check(&["/a"], &["a", "a/b"], &["b/a"]);
        check(&["/a/"], &["a", "a/b"], &["b/a"]);
        check(&["//a//b//"], &["a/b", "a/b/c"], &["a", "b"]);
        check(&["a/b"], &["a/b", "a/b/c"], &["a", "b", "a/bc", "c/a/b"]);
        check(&["./a"], &["a"], &["b"]);
        check(&["a/../b"], &["b", "b/c"], &["a", "a/b"]);
        check(&["a/./b"], &["a/b"], &["a"]);
        check(&["/../a"], &["a"], &["b"]);
        check(&["  a  "], &["a"], &["b"]);
        check(&["a b"], &["a b"], &["a", "b"]);
        check(&["a.b"], &["a.b"], &["aXb"]);
        check(&["a+b(c){d}|$"], &["a+b(c){d}|$"], &["aab(c){d}|$"]);
        check(&["caf\u{e9}"], &["caf\u{e9}"], &["cafe"]);
    }

    #[test]
    fn nothing_matches_what_is_not_a_path_below_the_top() {
        check(&["."], &[], &["a", "a/b", ".a"]);
        check(&[".."], &[], &["a", "a/b"]);
        check(&["../a"], &[], &["a"]);
        check(&["/"], &[], &["a", "a/b"]);
        check(&["a/.."], &[], &["a", "b"]);
        check(&["", "  "], &[], &["a"]);
    }

    #[test]
    fn one_star_stops_at_slashes() {
        check(&["*"], &["a", ".a", "a/b"], &[]);
        check(&["*/b"], &["a/b", "x/b/c"], &["b", "a/x/b"]);
        check(&["*/*/b"], &["a/x/b"], &["a/b", "b"]);
        check(&["a*"], &["a", "ab", "ab/c"], &["b", "ba"]);
        check(&["*.md"], &["x.md", ".md", "x.md/y"], &["a/x.md", "xmd"]);
        check(&["a/*"], &["a/b", "a/b/c"], &["a", "b"]);
        check(&["a*c"], &["ac", "abc"], &["a/c", "abcd"]);
        check(&["*a*b*"], &["xaybz"], &["ba"]);
    }

    #[test]
    fn a_question_mark_is_one_character_but_no_slash() {
        check(&["a?c"], &["abc", "a\u{e9}c"], &["ac", "a/c", "abbc"]);
        check(&["?"], &["a", "\u{e9}", "a/b"], &["ab"]);
        check(&["??"], &["ab"], &["a", "\u{e9}", "abc"]);
    }

    #[test]
    fn two_stars_cross_slashes() {
        check(&["**"], &["a", "a/b", "a/b/c"], &[]);
        check(&["**/c"], &["c", "a/c", "a/b/c", "c/d"], &["xc", "a/xc", "cx"]);
        check(&["**/c/d"], &["c/d", "a/c/d"], &["c", "d", "a/d"]);
        check(&["**/*.go"], &["x.go", "a/x.go", "a/b/x.go"], &["x.goo", "xgo"]);
        check(&["**/a.b"], &["a.b", "x/a.b"], &["aXb", "x/aXb"]);
        check(&["a/**"], &["a/b", "a/b/c"], &["a", "ab"]);
        check(
            &["a/**/b"],
            &["a/b", "a/x/b", "a/x/y/b", "a/b/z"],
            &["a", "b", "a/xb", "ab"],
        );
        check(&["**/a/**"], &["a/b", "x/a/b"], &["a", "x/a", "xa/b"]);
        check(&["a**"], &["a", "ab", "a/b"], &["b"]);
        check(&["a**b"], &["ab", "ax/b", "a/x/b"], &["axb"]);
        check(&["**/*/b"], &["a/b", "x/a/b"], &["b"]);
        check(&["***"], &["a", "a/b"], &[]);
        check(&["**a"], &["a", "x/a", "xa", "x/ya"], &["ab"]);
        check(&["**/**/a"], &["a", "x/a", "x/y/a"], &["b"]);
    }

    #[test]
    fn classes_hold_ranges_and_their_contrary() {
        check(&["[ab]*"], &["a", "bx", "a/c"], &["c", "cab"]);
        check(&["[a-c]x"], &["ax", "bx", "cx"], &["dx", "-x"]);
        check(&["[^a]x"], &["bx"], &["ax", "x"]);
        check(&["[!a]x"], &["!x", "ax"], &["bx"]);
        check(&["[\\]]x"], &["]x"], &["\\x"]);
        check(&["[\\-z]x"], &["-x", "zx"], &["yx"]);
        check(&["[*]"], &["*"], &["a"]);
        check(&["[&&a~~]"], &["&", "a", "~"], &["b"]);
        check(&["a]"], &["a]"], &["a"]);
        check(&["[\u{e0}-\u{ff}]"], &["\u{e9}"], &["e"]);
    }

    #[test]
    fn a_backslash_takes_the_next_character_as_it_is() {
        check(&["\\#x"], &["#x"], &["\\#x", "x"]);
        check(&["#x"], &["#x"], &["x"]);
        check(&["\\!x"], &["!x"], &["x"]);
        check(&["a\\*"], &["a*"], &["ab"]);
        check(&["a\\?"], &["a?"], &["ab"]);
        check(&["\\d"], &["d"], &["1"]);
        check(&["a\\\\b"], &["a\\b"], &["ab"]);
        check(&["\\a\\**"], &["a*b"], &["a"]);
    }

    #[test]
    fn the_last_match_decides() {
        check(&["*", "!a"], &["b", "b/a"], &["a", "a/b"]);
        check(&["!a", "a"], &["a"], &["b"]);
        check(&["a", "!a/b"], &["a", "a/c", "a/bc"], &["a/b", "a/b/c"]);
        check(&["a", "!a/b", "a/b/c"], &["a", "a/b/c", "a/b/c/d"], &["a/b", "a/b/x"]);
        check(
            &["*.md", "!README*.md", "README-secret.md"],
            &["x.md", "README-secret.md"],
            &["README.md"],
        );
        check(
            &["*.md", "README-secret.md", "!README*.md"],
            &["x.md"],
            &["README.md", "README-secret.md"],
        );
        check(&["**", "!**/*.go"], &["a", "a/b.c"], &["x.go", "a/x.go"]);
        check(&["a", "! a/b"], &["a"], &["a/b"]);
        check(&["a", "!/a/b/"], &["a"], &["a/b", "a/b/c"]);
        check(&["a/*", "!a/b"], &["a/c"], &["a", "a/b"]);
        check(&["!a"], &[], &["a", "b"]);
        check(&["a", "!a"], &[], &["a", "a/b"]);
    }

    #[test]
    fn names_that_are_not_utf_8_are_matched_byte_by_byte() {
        assert!(matched(&["*"], b"\xff\xfe"));
        assert!(matched(&["a?"], b"a\xff"));
        assert!(matched(&["a??"], b"a\xff\xfe"));
        assert!(!matched(&["a?"], b"a\xff\xfe"));
        assert!(matched(&["**/x"], b"\xff/x"));
        assert!(!matched(&["a"], b"a\xff"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for bad in [
            "!", "! ", "[", "[]", "[]a]", "[^]", "[a", "[a-", "[a-]", "[-a]", "[b-a]", "a\\", "x/[", "[\\",
        ] {
            let refused = Patterns::parse(&[bad.to_owned()]).unwrap_err();
            assert_eq!(refused, BadPattern::Syntax(bad.trim().to_owned()), "{bad:?}");
        }
        assert_eq!(
            Patterns::parse(&vec!["a".to_owned(); 5_001]).unwrap_err(),
            BadPattern::TooMany
        );
    }

    #[test]
    fn directories_are_passed_over_only_if_nothing_in_them_can_matter() {
        let of = |lines: &[&str]| Patterns::parse(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>()).unwrap();
        let include = of(&["a/b", "c/**", "!x/y"]);
        assert!(include.may_match_below(b"a"));
        assert!(include.may_match_below(b"c"));
        assert!(!include.may_match_below(b"x"));
        assert!(!include.may_match_below(b"a/c"));
        assert!(!include.may_match_below(b"ab"));
        assert!(of(&["**/x"]).may_match_below(b"a"));
        let exclude = of(&["a", "!a/b"]);
        assert!(exclude.may_except_below(b"a"));
        assert!(!exclude.may_except_below(b"a/c"));
        assert!(!of(&["a"]).may_except_below(b"a"));
        assert!(of(&["a", "!**/*.go"]).may_except_below(b"a"));
    }

    #[test]
    fn an_escaped_name_matches_itself_alone() {
        for name in ["a*b", "[x]", "a\\b", "!x", " a ", "^?"] {
            check(&[&escape(name.as_bytes())], &[name], &["a-b", "x", "ab"]);
        }
        assert!(matched(&[&escape(b"a\xff")], b"a\xff"));
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, cleaned) in [
            ("", "."),
            (".", "."),
            ("/", "/"),
            ("a//b/", "a/b"),
            ("a/../..", ".."),
            ("../../a", "../../a"),
            ("/..", "/"),
            ("/../a/./b/..", "/a"),
        ] {
            assert_eq!(clean(path), cleaned, "{path:?}");
        }
    }
}
