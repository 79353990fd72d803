//! Puts variables into a word, as BuildKit's shell lexer does: `$name`, `${name}` with the modifiers `-`, `+`, `?` (also
//! behind a colon), `#`, `##`, `%`, `%%`, `/` and `//`, quotes and escapes.
//!
//! Hostile words cost bounded time: what all words of one Dockerfile may become together is limited.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

use super::pattern::{self, Pattern};

/// Longest value of a variable, in bytes.
const MAX_VALUE: usize = 16 << 10;

/// Most that all words of one Dockerfile may become, in bytes.
const MAX_TOTAL: usize = 8 << 20;

/// Deepest nesting of `${...${...}}`.
const MAX_DEPTH: usize = 50;

/// Most patterns in one Dockerfile.
const MAX_PATTERNS: usize = 100;

/// Expands the words of one Dockerfile.
pub(super) struct Expander {
    escape: char,
    /// What is left to be written, in bytes.
    room: usize,
    patterns: usize,
}

/// Variables and their values.
pub(super) type Variables = BTreeMap<String, String>;

/// Why a word has no value.
pub(super) type Fault = String;

impl Expander {
    pub(super) fn new(escape: u8) -> Self {
        Self {
            escape: char::from(escape),
            room: MAX_TOTAL,
            patterns: MAX_PATTERNS,
        }
    }

    /// The value of a word.
    pub(super) fn expand(&mut self, word: &str, variables: &Variables) -> Result<String, Fault> {
        let mut reader = Reader {
            chars: word.chars().peekable(),
            variables,
            expander: self,
            raw: false,
            depth: 0,
        };
        reader.until(None)
    }
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    variables: &'a Variables,
    expander: &'a mut Expander,
    /// Inside a pattern: escapes stay, for the pattern to read.
    raw: bool,
    depth: usize,
}

/// What stands behind a variable's name in braces.
enum Modifier {
    Default { empty_too: bool },
    Alternative { empty_too: bool },
    Required { empty_too: bool },
    Prefix,
    Suffix,
}

impl Reader<'_> {
    /// Reads up to `stop`, which is taken too, or to the end.
    fn until(&mut self, stop: Option<char>) -> Result<String, Fault> {
        let mut result = String::new();
        while let Some(&c) = self.chars.peek() {
            match c {
                _ if stop == Some(c) => {
                    self.chars.next();
                    return Ok(result);
                }
                '\'' => self.single_quoted(&mut result)?,
                '"' => self.double_quoted(&mut result)?,
                '$' => self.variable(&mut result)?,
                _ => {
                    self.chars.next();
                    if c != self.expander.escape {
                        self.push(&mut result, c)?;
                        continue;
                    }
                    if self.raw {
                        self.push(&mut result, c)?;
                    }
                    if let Some(next) = self.chars.next() {
                        self.push(&mut result, next)?;
                    }
                }
            }
        }
        match stop {
            Some(stop) => Err(format!("a `{stop}` is missing")),
            None => Ok(result),
        }
    }

    fn single_quoted(&mut self, result: &mut String) -> Result<(), Fault> {
        self.chars.next();
        loop {
            match self.chars.next() {
                Some('\'') => return Ok(()),
                Some(c) => self.push(result, c)?,
                None => return Err("a single quote is not closed".to_owned()),
            }
        }
    }

    fn double_quoted(&mut self, result: &mut String) -> Result<(), Fault> {
        self.chars.next();
        loop {
            match self.chars.peek().copied() {
                Some('"') => {
                    self.chars.next();
                    return Ok(());
                }
                Some('$') => self.variable(result)?,
                Some(mut c) => {
                    self.chars.next();
                    if c == self.expander.escape {
                        if self.raw {
                            self.push(result, c)?;
                        }
                        match self.chars.peek().copied() {
                            None => continue,
                            Some(next) if matches!(next, '"' | '$') || next == c => {
                                self.chars.next();
                                c = next;
                            }
                            Some(_) => {}
                        }
                    }
                    self.push(result, c)?;
                }
                None => return Err("a double quote is not closed".to_owned()),
            }
        }
    }

    fn variable(&mut self, result: &mut String) -> Result<(), Fault> {
        self.chars.next();
        let value = if self.chars.peek() == Some(&'{') {
            self.chars.next();
            if self.depth >= MAX_DEPTH {
                return Err("its variables are nested too deeply".to_owned());
            }
            self.depth += 1;
            let value = self.in_braces()?;
            self.depth -= 1;
            value
        } else {
            match self.name() {
                name if name.is_empty() => "$".to_owned(),
                name => self.variables.get(&name).cloned().unwrap_or_default(),
            }
        };
        self.take_room(value.len())?;
        result.push_str(&value);
        within(result)
    }

    fn in_braces(&mut self) -> Result<String, Fault> {
        let missing = || "a `}` is missing".to_owned();
        if matches!(self.chars.peek().ok_or_else(missing)?, '{' | '}' | ':') {
            return Err("`${` is followed by no name".to_owned());
        }
        let name = self.name();
        let value = self.variables.get(&name);
        let mut modifier = self.chars.next().ok_or_else(missing)?;
        let empty_too = modifier == ':';
        if empty_too {
            modifier = self.chars.next().ok_or_else(missing)?;
        }
        let modifier = match modifier {
            '}' if !empty_too => return Ok(value.cloned().unwrap_or_default()),
            '/' if !empty_too => return self.replacement(value.map(String::as_str).unwrap_or_default()),
            '-' => Modifier::Default { empty_too },
            '+' => Modifier::Alternative { empty_too },
            '?' => Modifier::Required { empty_too },
            '#' => Modifier::Prefix,
            '%' => Modifier::Suffix,
            other => return Err(format!("`${{{name}{other}` is no substitution that is known here")),
        };
        let is_pattern = matches!(modifier, Modifier::Prefix | Modifier::Suffix);
        let word = self.raw_until(is_pattern, '}')?;
        let usable = |empty_too| value.filter(|value| !(empty_too && value.is_empty()));
        Ok(match modifier {
            Modifier::Default { empty_too } => usable(empty_too).cloned().unwrap_or(word),
            Modifier::Alternative { empty_too } => usable(empty_too).map(|_| word).unwrap_or_default(),
            Modifier::Required { empty_too } => match usable(empty_too) {
                Some(value) => value.clone(),
                None if word.is_empty() => return Err(format!("the variable `{name}` has no value")),
                None => return Err(format!("the variable `{name}` has no value: {word}")),
            },
            Modifier::Prefix => {
                let value = value.map(String::as_str).unwrap_or_default();
                let (word, greedy) = longest(&word, '#');
                pattern::without_prefix(value, &self.pattern(word)?, greedy)
            }
            Modifier::Suffix => {
                let value = value.map(String::as_str).unwrap_or_default();
                let (word, greedy) = longest(&word, '%');
                pattern::without_suffix(value, &self.pattern(word)?, greedy)
            }
        })
    }

    /// `${name/pattern/text}`, `${name//pattern/text}`, behind the first slash.
    fn replacement(&mut self, value: &str) -> Result<String, Fault> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let word = self.raw_until(true, '/')?;
        let replacement = self.raw_until(true, '}')?;
        let replaced = pattern::replaced(value, &self.pattern(&word)?, &replacement, all, MAX_VALUE);
        replaced.ok_or_else(too_long)
    }

    fn raw_until(&mut self, raw: bool, stop: char) -> Result<String, Fault> {
        let before = std::mem::replace(&mut self.raw, raw);
        let word = self.until(Some(stop));
        self.raw = before;
        word
    }

    fn pattern(&mut self, word: &str) -> Result<Pattern, Fault> {
        self.expander.patterns = self
            .expander
            .patterns
            .checked_sub(1)
            .ok_or("the Dockerfile has too many patterns")?;
        Pattern::parse(word)
    }

    /// Letters, digits and `_`; digits alone; or one of the shell's special parameters, which are never set.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.chars.peek() {
            Some(c) if c.is_numeric() => {
                while let Some(c) = self.chars.next_if(|c| c.is_numeric()) {
                    name.push(c);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.chars.next()),
            _ => {
                while let Some(c) = self.chars.next_if(|&c| c.is_alphanumeric() || c == '_') {
                    name.push(c);
                }
            }
        }
        name
    }

    fn push(&mut self, result: &mut String, c: char) -> Result<(), Fault> {
        self.take_room(c.len_utf8())?;
        result.push(c);
        within(result)
    }

    fn take_room(&mut self, bytes: usize) -> Result<(), Fault> {
        self.expander.room = self.expander.room.checked_sub(bytes).ok_or_else(too_long)?;
        Ok(())
    }
}

/// A doubled mark asks for the longest match.
fn longest(word: &str, mark: char) -> (&str, bool) {
    match word.strip_prefix(mark) {
        Some(word) => (word, true),
        None => (word, false),
    }
}

fn within(value: &str) -> Result<(), Fault> {
    if value.len() > MAX_VALUE {
        return Err(too_long());
    }
    Ok(())
}

fn too_long() -> Fault {
    "its value is too long".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(word: &str, escape: u8) -> Result<String, Fault> {
        let variables = [
            ("X", "value"),
            ("EMPTY", ""),
            ("V", "1.2.3-rc.1"),
            ("P", "a/b/c.tar.gz"),
            ("ä", "umlaut"),
        ];
        let variables = variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        Expander::new(escape).expand(word, &variables)
    }

    #[test]
    fn words_are_expanded_as_buildkit_documents_it() {
        let check = |word: &str, expected: &str| assert_eq!(expand(word, b'\\').as_deref(), Ok(expected), "{word}");
        check("plain", "plain");
        check("$X", "value");
        check("${X}", "value");
        check("a$X-b", "avalue-b");
        check("$Xb", "");
        check("${X}b", "valueb");
        check("$ä", "umlaut");
        check("$", "$");
        check("a$/", "a$/");
        check("$1x$@", "x");
        check("\\$X", "$X");
        check("\\\\", "\\");
        check("a\\", "a");
        check("'$X'", "$X");
        check("\"$X\"", "value");
        check("\"\\$X\\\"\\a\\\\\"", "$X\"\\a\\");
        check("\"it's\"", "it's");
        // Defaults and alternatives.
        check("${NO-d}", "d");
        check("${EMPTY-d}", "");
        check("${NO:-d}", "d");
        check("${EMPTY:-d}", "d");
        check("${X:-d}", "value");
        check("${NO+a}", "");
        check("${EMPTY+a}", "a");
        check("${EMPTY:+a}", "");
        check("${X:+a}", "a");
        check("${NO:-${EMPTY:-$X}}", "value");
        check("${NO:-'a}b'}", "a}b");
        check("${NO:-a\\}b}", "a}b");
        check("${X:?message}", "value");
        check("${EMPTY?message}", "");
        // Prefixes and suffixes.
        check("${P#*/}", "b/c.tar.gz");
        check("${P##*/}", "c.tar.gz");
        check("${P%.*}", "a/b/c.tar");
        check("${P%%.*}", "a/b/c");
        check("${P%/*}", "a/b");
        check("${V#?.}", "2.3-rc.1");
        check("${V%-rc*}", "1.2.3");
        check("${V#x}", "1.2.3-rc.1");
        check("${NO#x}", "");
        check("${P#$NO*}", "a/b/c.tar.gz");
        // Replacements.
        check("${V/./_}", "1_2.3-rc.1");
        check("${V//./_}", "1_2_3-rc_1");
        check("${V/-*/}", "1.2.3");
        check("${P//\\//-}", "a-b-c.tar.gz");
        check("${V//[a-z]/x}", "1.2.3-rc.1");
        check("${X/al*e/$EMPTY-}", "v-");
    }

    #[test]
    fn the_other_escape_character_escapes_alone() {
        assert_eq!(expand("`$X\\a", b'`').as_deref(), Ok("$X\\a"));
        assert_eq!(expand("\"`$X\\a\"", b'`').as_deref(), Ok("$X\\a"));
    }

    #[test]
    fn what_the_builder_refuses_has_no_value() {
        for bad in [
            "'a",
            "\"a",
            "${",
            "${X",
            "${}",
            "${:x}",
            "${{X}}",
            "${X:",
            "${X:}",
            "${X:-a",
            "${X!a}",
            "${X^}",
            "${NO?}",
            "${NO:?m}",
            "${EMPTY:?m}",
            "${X/a}",
            "${X/a/b",
            "${X#\\a}",
        ] {
            assert!(expand(bad, b'\\').is_err(), "{bad}");
        }
        assert_eq!(
            expand("${NO:?say it}", b'\\').unwrap_err(),
            "the variable `NO` has no value: say it"
        );
    }

    #[test]
    fn deep_and_growing_words_are_given_up() {
        let deep = "${X:+".repeat(100_000);
        assert!(expand(&deep, b'\\').unwrap_err().contains("nested"));
        assert!(expand(&"$P".repeat(10_000), b'\\').unwrap_err().contains("too long"));
    }
}
