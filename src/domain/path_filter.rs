//! Path filters: which changed files make a push build. The pattern language is that of `.gitignore`
//! (<https://git-scm.com/docs/gitignore#_pattern_format>), over the paths of files in a commit; nothing is looked up here.
//!
//! Patterns are tried in their order and the last that matches decides; `!` takes files out again. A pattern that matches a
//! directory matches all that is below it, and unlike in git a later `!` may take some of that out. Where all patterns
//! begin with `!`, everything else matches. Paths are bytes, and so are `?` and `[...]`, as in git.
//!
//! Each pattern is compiled to a regular expression of the `regex` crate, whose time is linear in the path's length.

use regex::bytes::{Regex, RegexBuilder};

/// Most patterns of a filter: each is tried on every path.
pub const MOST_PATTERNS: usize = 100;

/// Longest pattern, in bytes.
pub const LONGEST_PATTERN: usize = 1_000;

/// Of one compiled pattern, in bytes.
const REGEX_SIZE_LIMIT: usize = 1 << 20;

/// Of what is kept to match faster, for one pattern, in bytes.
const DFA_SIZE_LIMIT: usize = 1 << 18;

/// Why a list of patterns cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidPattern {
    /// Which pattern; `None`: the list as a whole.
    pub index: Option<usize>,
    pub message: String,
}

/// A list of patterns, ready to be tried.
#[derive(Debug)]
pub struct PathFilter {
    patterns: Vec<Pattern>,
    /// What holds for a path that no pattern matches.
    otherwise: bool,
}

#[derive(Debug)]
struct Pattern {
    takes_out: bool,
    regex: Regex,
}

impl PathFilter {
    /// Compiles a list; the first pattern that cannot be used is the error.
    pub fn new(patterns: &[String]) -> Result<Self, InvalidPattern> {
        if patterns.len() > MOST_PATTERNS {
            return Err(InvalidPattern {
                index: None,
                message: format!("there are more than {MOST_PATTERNS} patterns"),
            });
        }
        let compiled = patterns.iter().enumerate().map(|(index, text)| {
            Pattern::parse(text).map_err(|message| InvalidPattern {
                index: Some(index),
                message,
            })
        });
        let patterns: Vec<Pattern> = compiled.collect::<Result<_, _>>()?;
        Ok(Self {
            otherwise: patterns.iter().all(|pattern| pattern.takes_out),
            patterns,
        })
    }

    /// Everything that is wrong with a list.
    pub fn faults(patterns: &[String]) -> Vec<InvalidPattern> {
        if patterns.len() > MOST_PATTERNS {
            return Self::new(patterns).err().into_iter().collect();
        }
        let faults = patterns.iter().enumerate().filter_map(|(index, text)| {
            Some(InvalidPattern {
                index: Some(index),
                message: Pattern::parse(text).err()?,
            })
        });
        faults.collect()
    }

    /// Whether a changed file counts. `path` is relative to the root of the commit, with `/` between the names; what is a
    /// directory (a submodule) ends with one.
    pub fn matches(&self, path: &[u8]) -> bool {
        let last = self.patterns.iter().rev().find(|pattern| pattern.regex.is_match(path));
        last.map_or(self.otherwise, |pattern| !pattern.takes_out)
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_PATTERN {
            return Err(format!("it is longer than {LONGEST_PATTERN} bytes"));
        }
        if text.contains(['\0', '\r', '\n']) {
            return Err("a pattern is one line".to_owned());
        }
        if text.starts_with('#') {
            return Err(format!(
                "`{text}` is a comment; a name that begins with # is written `\\{text}`"
            ));
        }
        let (takes_out, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let pattern = without_trailing_spaces(rest.as_bytes());
        let (pattern, only_directories) = match pattern.strip_suffix(b"/") {
            Some(directory) => (directory, true),
            None => (pattern, false),
        };
        // A slash at the beginning or in the middle ties the pattern to the root.
        let (pattern, anchored) = match pattern.strip_prefix(b"/") {
            Some(from_root) => (from_root, true),
            None => (pattern, pattern.contains(&b'/')),
        };
        if pattern.is_empty() {
            return Err(match rest.trim().is_empty() {
                true => "it is empty".to_owned(),
                false => format!("`{text}` names nothing; everything is `*`"),
            });
        }
        let mut regex = r"\A".to_owned();
        if !anchored {
            regex.push_str("(?:.*/)?");
        }
        translate(pattern, &mut regex).map_err(|why| format!("`{text}` is no pattern: {why}"))?;
        regex.push_str(if only_directories { r"/.*\z" } else { r"(?:/.*)?\z" });
        let regex = RegexBuilder::new(&regex)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(REGEX_SIZE_LIMIT)
            .dfa_size_limit(DFA_SIZE_LIMIT)
            .build()
            .map_err(|_| format!("`{text}` is too complicated"))?;
        Ok(Self { takes_out, regex })
    }
}

/// Spaces at the end do not count, unless the last one is escaped.
fn without_trailing_spaces(mut pattern: &[u8]) -> &[u8] {
    while let Some(shorter) = pattern.strip_suffix(b" ") {
        let escapes = shorter.iter().rev().take_while(|byte| **byte == b'\\').count();
        if escapes % 2 == 1 {
            break;
        }
        pattern = shorter;
    }
    pattern
}

/// Writes what a pattern matches as a regular expression, as git's `wildmatch` has it with `WM_PATHNAME`.
fn translate(pattern: &[u8], regex: &mut String) -> Result<(), &'static str> {
    let mut at = 0;
    while let Some(&byte) = pattern.get(at) {
        let rest = &pattern[at..];
        let begins_a_name = at == 0 || pattern[at - 1] == b'/';
        match byte {
            b'*' => {
                let stars = rest.iter().take_while(|byte| **byte == b'*').count();
                at += stars;
                match pattern.get(at) {
                    // More than one are special between slashes only.
                    Some(b'/') if stars > 1 && begins_a_name => {
                        regex.push_str("(?:.*/)?");
                        at += 1;
                    }
                    None if stars > 1 && begins_a_name => regex.push_str(".*"),
                    _ => regex.push_str("[^/]*"),
                }
            }
            b'?' => {
                regex.push_str("[^/]");
                at += 1;
            }
            b'[' => at += class(rest, regex)?,
            b'\\' => {
                let escaped = rest.get(1).ok_or("a `\\` at its end escapes nothing")?;
                push_byte(regex, *escaped);
                at += 2;
            }
            byte => {
                push_byte(regex, byte);
                at += 1;
            }
        }
    }
    Ok(())
}

fn push_byte(regex: &mut String, byte: u8) {
    regex.push_str(&format!(r"\x{byte:02x}"));
}

const UNCLOSED: &str = "a `[` is never closed; for the character itself write `\\[`";

/// Reads `[...]`, and answers how long it is. No class has the slash.
fn class(text: &[u8], regex: &mut String) -> Result<usize, &'static str> {
    let mut has = [false; 256];
    let negated = matches!(text.get(1), Some(b'!' | b'^'));
    let begin = if negated { 2 } else { 1 };
    let mut at = begin;
    loop {
        let byte = *text.get(at).ok_or(UNCLOSED)?;
        if byte == b']' && at > begin {
            break;
        }
        if let Some(named) = text[at..].strip_prefix(b"[:")
            && let Some(length) = named.windows(2).position(|end| end == b":]")
        {
            let holds = named_class(&named[..length]).ok_or("a class such as `[:digit:]` is not known")?;
            (0..=255u8).filter(holds).for_each(|byte| has[usize::from(byte)] = true);
            at += length + 4;
            continue;
        }
        let (first, length) = member(&text[at..])?;
        at += length;
        let mut last = first;
        if text.get(at) == Some(&b'-') && text.get(at + 1).is_some_and(|next| *next != b']') {
            let (end, length) = member(&text[at + 1..])?;
            last = end;
            at += 1 + length;
        }
        (first..=last).for_each(|byte| has[usize::from(byte)] = true);
    }
    let members: Vec<u8> = (0..=255u8)
        .filter(|byte| has[usize::from(*byte)] != negated && *byte != b'/')
        .collect();
    if members.is_empty() {
        return Err("a `[...]` in it matches nothing");
    }
    regex.push('[');
    for run in members.chunk_by(|byte, next| byte + 1 == *next) {
        if let [first, .., last] = run {
            push_byte(regex, *first);
            regex.push('-');
            push_byte(regex, *last);
        } else if let [alone] = run {
            push_byte(regex, *alone);
        }
    }
    regex.push(']');
    Ok(at + 1)
}

/// One byte of a class, which may be escaped, and how long it is written.
fn member(text: &[u8]) -> Result<(u8, usize), &'static str> {
    match text {
        [b'\\', escaped, ..] => Ok((*escaped, 2)),
        [byte, ..] if *byte != b'\\' => Ok((*byte, 1)),
        _ => Err(UNCLOSED),
    }
}

fn named_class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(patterns: &[&str]) -> PathFilter {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        PathFilter::new(&patterns).unwrap_or_else(|invalid| panic!("{patterns:?}: {invalid}"))
    }

    /// Patterns, what they match and what they do not.
    type Row = (
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );

    #[test]
    fn patterns_match_as_gits_documentation_says() {
        let rows: &[Row] = &[
            // Without a slash: at any level, files and directories with all that is in them.
            (
                &["foo"],
                &["foo", "a/foo", "a/b/foo", "foo/x", "a/foo/x/y"],
                &["foobar", "xfoo", "a/foobar", "Foo"],
            ),
            (
                &["*.md"],
                &["README.md", "docs/a.md", "a/b/.md"],
                &["README.mdx", "md", "a.md.txt"],
            ),
            (&["hello.*"], &["hello.txt", "a/hello.java"], &["hello", "hellox"]),
            (&["foo*"], &["foo", "foobar", "a/foo.c", "foo.d/x"], &["afoo"]),
            // A slash at the end: directories only, at any level.
            (
                &["doc/"],
                &["doc/x", "a/doc/x", "a/doc/b/c"],
                &["doc", "a/doc", "docs/x"],
            ),
            (&["frotz/"], &["frotz/x", "a/frotz/x"], &["frotz"]),
            // A slash at the beginning or in the middle: from the root.
            (&["/hello.*"], &["hello.txt", "hello.c"], &["a/hello.java"]),
            (&["/foo"], &["foo", "foo/x"], &["a/foo"]),
            (&["doc/frotz"], &["doc/frotz", "doc/frotz/x"], &["a/doc/frotz"]),
            (&["doc/frotz/"], &["doc/frotz/x"], &["doc/frotz", "a/doc/frotz/x"]),
            (&["/doc/frotz"], &["doc/frotz"], &["a/doc/frotz"]),
            (&["/doc/"], &["doc/x"], &["doc", "a/doc/x"]),
            // A star stays within a name; what it matches may be a directory.
            (
                &["foo/*"],
                &["foo/test.json", "foo/bar", "foo/bar/hello.c"],
                &["foo", "a/foo/x"],
            ),
            (&["foo/*.c"], &["foo/a.c", "foo/.c"], &["foo/b/a.c", "a.c"]),
            (&["a*/b"], &["a/b", "ax/b"], &["a/x/b", "b"]),
            (&["/*"], &["a", "a/b"], &[]),
            (&["/*/"], &["a/b", "a/b/c"], &["a"]),
            (&["*"], &["a", "a/b", ".x"], &[]),
            (&["a?c"], &["abc", "x/abc", "a-c/d"], &["ac", "abbc", "a/c"]),
            // Two stars between slashes: any number of directories.
            (&["**/foo"], &["foo", "a/foo", "a/b/foo", "foo/x"], &["xfoo"]),
            (
                &["**/foo/bar"],
                &["foo/bar", "a/foo/bar", "a/b/foo/bar/c"],
                &["foo/x/bar", "foo"],
            ),
            (&["abc/**"], &["abc/x", "abc/x/y"], &["abc", "x/abc/y"]),
            (
                &["a/**/b"],
                &["a/b", "a/x/b", "a/x/y/b", "a/x/b/c"],
                &["ab", "x/a/b", "a/xb"],
            ),
            (
                &["**/logs/**/*.log"],
                &["logs/a.log", "x/logs/y/z/a.log"],
                &["logs/a.txt", "a.log"],
            ),
            (&["**"], &["a", "a/b/c"], &[]),
            (&["**/"], &["a/b"], &["a"]),
            (&["/**/a"], &["a", "b/a"], &["b"]),
            // Elsewhere they are one star.
            (&["a**b"], &["ab", "axxb", "x/ab"], &["a/b"]),
            (&["src/**.rs"], &["src/a.rs"], &["src/a/b.rs"]),
            (&["src/a**/x"], &["src/a/x", "src/ab/x"], &["src/a/b/x"]),
            (&["***/x"], &["x", "a/b/x"], &["ax"]),
            // Classes.
            (&["[abc].txt"], &["a.txt", "x/b.txt"], &["d.txt", "ab.txt"]),
            (&["[a-c]x"], &["ax", "bx", "cx"], &["dx", "-x"]),
            (&["[!a-c]x"], &["dx", "-x"], &["ax", "x", "a/x/y"]),
            (&["[^a]"], &["b"], &["a"]),
            (&["[]-]x"], &["]x", "-x"], &["ax"]),
            (&["[a-]x"], &["ax", "-x"], &["bx"]),
            (&["[!]]x"], &["ax"], &["]x"]),
            (&["[[:digit:]x].c"], &["7.c", "x.c"], &["d.c", ":.c"]),
            (&["[[:upper:]]*"], &["Makefile", "a/README"], &["a/b"]),
            (&["[\\]]"], &["]"], &["\\"]),
            (&["a[!b]c"], &["axc"], &["a/c", "abc"]),
            // What is escaped stands for itself.
            (&["\\!important"], &["!important"], &["important"]),
            (&["\\#x"], &["#x", "a/#x"], &["x"]),
            (&["\\*"], &["*"], &["a"]),
            (&["a\\?"], &["a?"], &["ab"]),
            (&["foo "], &["foo"], &["foo "]),
            (&["foo\\ "], &["foo "], &["foo"]),
            (&["a b"], &["a b"], &["a", "b"]),
            (&["a.b+(c)$"], &["a.b+(c)$"], &["aXb+(c)$"]),
            (&["x^y|z{1}"], &["x^y|z{1}"], &["x", "z"]),
            // The last that matches decides.
            (
                &["*.html", "!foo.html"],
                &["a.html", "x/a.html"],
                &["foo.html", "x/foo.html"],
            ),
            (
                &["/*", "!/foo", "/foo/*", "!/foo/bar"],
                &["a", "foo/x"],
                &["foo/bar", "foo/bar/x"],
            ),
            (&["api/", "!api/docs/"], &["api/main.rs"], &["api/docs/x.md", "web/x"]),
            (
                &["api/", "!*.md", "api/README.md"],
                &["api/main.rs", "api/README.md"],
                &["api/x.md"],
            ),
            (&["!api/", "api/"], &["api/x"], &["x"]),
            // Only what is taken out: all the rest.
            (
                &["!docs/", "!*.md"],
                &["api/x", "docs"],
                &["docs/x", "README.md", "api/y.md"],
            ),
            (&["!*"], &[], &["a", "a/b"]),
            (&[], &["a", "a/b"], &[]),
            // Names that are not ASCII, and odd ones.
            (&["é/"], &["é/x"], &["e/x"]),
            (&["a"], &["x/\na\n/../a"], &["x/\na"]),
            (&["*.txt"], &["a\nb.txt"], &["a\nb"]),
        ];
        for (patterns, inside, outside) in rows {
            let filter = filter(patterns);
            for path in *inside {
                assert!(filter.matches(path.as_bytes()), "{patterns:?} matches {path:?}");
            }
            for path in *outside {
                assert!(!filter.matches(path.as_bytes()), "{patterns:?} does not match {path:?}");
            }
        }
    }

    #[test]
    fn names_that_are_not_utf_8_are_bytes_like_others() {
        assert!(filter(&["data/"]).matches(b"data/\xff\xfe"));
        assert!(filter(&["*.bin"]).matches(b"\xff.bin"));
        assert!(filter(&["a?b"]).matches(b"a\xffb"));
        assert!(filter(&["[!a]"]).matches(b"\xff"));
        assert!(!filter(&["!data/"]).matches(b"data/\xff"));
    }

    #[test]
    fn a_submodule_is_a_directory() {
        for pattern in ["lib", "lib/", "/lib", "lib/**", "*", "!x"] {
            assert!(filter(&[pattern]).matches(b"lib/"), "{pattern}");
        }
        assert!(!filter(&["lib/*.c"]).matches(b"lib/"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_place() {
        for (bad, words) in [
            ("", "empty"),
            ("!", "empty"),
            ("  ", "empty"),
            ("/", "names nothing"),
            ("!/", "names nothing"),
            ("//", "names nothing"),
            ("# all of it", "comment"),
            ("a\nb", "one line"),
            ("a\0", "one line"),
            ("a\\", "escapes nothing"),
            ("[a", "never closed"),
            ("[", "never closed"),
            ("[]", "never closed"),
            ("[a\\", "never closed"),
            ("[[:word:]]", "not known"),
            ("[z-a]", "matches nothing"),
            ("[/]", "matches nothing"),
            (&"a".repeat(LONGEST_PATTERN + 1), "longer"),
        ] {
            let patterns = ["ok".to_owned(), bad.to_owned()];
            let invalid = PathFilter::new(&patterns).unwrap_err();
            assert_eq!(invalid.index, Some(1), "{bad:?}");
            assert!(invalid.message.contains(words), "{bad:?}: {invalid}");
            assert_eq!(PathFilter::faults(&patterns), [invalid], "{bad:?}");
        }
        let too_many = vec!["a".to_owned(); MOST_PATTERNS + 1];
        assert_eq!(PathFilter::new(&too_many).unwrap_err().index, None);
        assert_eq!(PathFilter::faults(&too_many).len(), 1);
        let both = ["[".to_owned(), "a".to_owned(), "/".to_owned()];
        let places: Vec<_> = PathFilter::faults(&both).into_iter().map(|fault| fault.index).collect();
        assert_eq!(places, [Some(0), Some(2)]);
    }

    #[test]
    fn the_worst_patterns_are_tried_in_bounded_time() {
        let worst = [
            "**/".repeat(333),
            "*a".repeat(500),
            "[!a]".repeat(250),
            "a**/*?".repeat(166),
        ];
        let patterns: Vec<String> = worst.iter().cycle().take(MOST_PATTERNS).cloned().collect();
        let filter = PathFilter::new(&patterns).unwrap();
        let path = "a".repeat(4095);
        let begun = std::time::Instant::now();
        filter.matches(path.as_bytes());
        filter.matches("a/".repeat(2000).as_bytes());
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }
}
