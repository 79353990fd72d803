//! Reads a commit's `.gitmodules`: which address belongs to which submodule.
//!
//! The syntax is that of git's configuration (git-config(1), "Syntax"). libgit2's own reader opens whatever file an
//! `[include]` names, and these bytes are a stranger's; so they are read here, where nothing but them is looked at.
//! Of the settings only `path`, `url` and `update = none` mean anything; a command in `update` is never run.

use std::collections::HashMap;

/// Longer ones are attacks.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// A line that git would not read either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {0} of .gitmodules makes no sense")]
pub(super) struct BadLine(usize);

/// What is said of one submodule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Declaration {
    path: Option<Vec<u8>>,
    /// As it is written: absolute, or relative to where the repository itself is.
    pub url: Option<String>,
    /// `update = none`: git leaves such a submodule out unless it is asked for by name.
    pub left_out: bool,
}

/// The declarations of one commit.
#[derive(Debug, Default)]
pub(super) struct Gitmodules(HashMap<Vec<u8>, Declaration>);

impl Gitmodules {
    /// Later settings replace earlier ones, and so does a later submodule of the same path.
    pub(super) fn parse(text: &[u8]) -> Result<Self, BadLine> {
        let mut numbers: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut declarations: Vec<Declaration> = Vec::new();
        read(text, |name, key, value| {
            let number = *numbers.entry(name.to_vec()).or_insert(declarations.len());
            if number == declarations.len() {
                declarations.push(Declaration::default());
            }
            let declaration = &mut declarations[number];
            match key {
                b"path" => declaration.path = Some(value),
                b"url" => declaration.url = Some(String::from_utf8_lossy(&value).into_owned()),
                b"update" => declaration.left_out = value == b"none",
                _ => {}
            }
        })?;
        let by_path = declarations
            .into_iter()
            .filter_map(|declaration| Some((declaration.path.clone()?, declaration)));
        Ok(Self(by_path.collect()))
    }

    /// What is said of the submodule at exactly this path.
    pub(super) fn at(&self, path: &[u8]) -> Option<&Declaration> {
        self.0.get(path)
    }
}

/// Calls `set` with the submodule's name, the lower-case key and the value of each setting of a submodule.
fn read(text: &[u8], mut set: impl FnMut(&[u8], &[u8], Vec<u8>)) -> Result<(), BadLine> {
    let mut reader = Reader {
        rest: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
        line: 1,
    };
    let mut section = None;
    while let Some(byte) = reader.next() {
        match byte {
            b'#' | b';' => reader.skip_line(),
            b'[' => section = reader.section()?,
            byte if byte.is_ascii_alphabetic() => {
                let key = reader.key(byte);
                let value = reader.value()?;
                if let (Some(name), Some(value)) = (&section, value) {
                    set(name, &key, value);
                }
            }
            byte if is_space(byte) => {}
            _ => return Err(BadLine(reader.line)),
        }
    }
    Ok(())
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        match self.rest {
            [b'\r', b'\n', ..] => Some(b'\n'),
            rest => rest.first().copied(),
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        let is_pair = self.rest.starts_with(b"\r\n");
        self.rest = &self.rest[if is_pair { 2 } else { 1 }..];
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn bad(&self) -> BadLine {
        BadLine(self.line)
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|byte| byte != b'\n') {}
    }

    /// The submodule's name if the section is one's: `[submodule "name"]`, or `[submodule.name]` of old.
    fn section(&mut self) -> Result<Option<Vec<u8>>, BadLine> {
        let line = BadLine(self.line);
        let mut kind = Vec::new();
        loop {
            match self.next() {
                Some(b']') => return Ok(kind.strip_prefix(b"submodule.").map(<[u8]>::to_vec)),
                Some(byte) if is_space(byte) && byte != b'\n' => break,
                Some(byte) if is_name(byte) || byte == b'.' => kind.push(byte.to_ascii_lowercase()),
                _ => return Err(line),
            }
        }
        while self.peek().is_some_and(|byte| is_space(byte) && byte != b'\n') {
            self.next();
        }
        if self.next() != Some(b'"') {
            return Err(line);
        }
        let mut name = Vec::new();
        loop {
            match self.next() {
                Some(b'"') => break,
                Some(b'\\') => match self.next() {
                    Some(byte) if byte != b'\n' => name.push(byte),
                    _ => return Err(line),
                },
                Some(byte) if byte != b'\n' => name.push(byte),
                _ => return Err(line),
            }
        }
        match self.next() {
            Some(b']') => Ok((kind == b"submodule").then_some(name)),
            _ => Err(line),
        }
    }

    fn key(&mut self, first: u8) -> Vec<u8> {
        let mut key = vec![first.to_ascii_lowercase()];
        while let Some(byte) = self.peek().filter(|byte| is_name(*byte)) {
            key.push(byte.to_ascii_lowercase());
            self.next();
        }
        key
    }

    /// What follows a key up to the end of its line; `None` if there is no `=`.
    fn value(&mut self) -> Result<Option<Vec<u8>>, BadLine> {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            self.next();
        }
        match self.peek() {
            None | Some(b'\n') => return Ok(None),
            Some(b'=') => self.next(),
            Some(_) => return Err(self.bad()),
        };
        let mut value = Vec::new();
        // White space at the end does not count, unless it is quoted.
        let mut kept = 0;
        let mut quoted = false;
        loop {
            let line = self.bad();
            match self.next() {
                None | Some(b'\n') if quoted => return Err(line),
                None | Some(b'\n') => break,
                Some(b'#' | b';') if !quoted => {
                    self.skip_line();
                    break;
                }
                Some(byte) if is_space(byte) && !quoted => {
                    if !value.is_empty() {
                        value.push(byte);
                    }
                    continue;
                }
                Some(b'"') => quoted = !quoted,
                Some(b'\\') => match self.next() {
                    Some(b'\n') => continue,
                    Some(b't') => value.push(b'\t'),
                    Some(b'b') => value.push(0x08),
                    Some(b'n') => value.push(b'\n'),
                    Some(byte @ (b'\\' | b'"')) => value.push(byte),
                    _ => return Err(line),
                },
                Some(byte) => value.push(byte),
            }
            kept = value.len();
        }
        value.truncate(kept);
        Ok(Some(value))
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// As C has it; Rust's lacks the vertical tab.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    type Settings = Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>;

    fn ours(text: &[u8]) -> Result<Settings, BadLine> {
        let mut settings = Vec::new();
        read(text, |name, key, value| {
            settings.push((name.to_vec(), key.to_vec(), value));
        })?;
        Ok(settings)
    }

    /// The same as git itself reads it.
    fn gits(text: &[u8]) -> Option<Settings> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let output = Command::new("git")
            .args(["config", "--null", "--list", "--no-includes", "--file"])
            .arg(file.path())
            .output()
            .unwrap();
        output.status.success().then(|| {
            let settings = output.stdout.split(|byte| *byte == 0).filter(|line| !line.is_empty());
            settings
                .filter_map(|setting| {
                    let end = setting.iter().position(|byte| *byte == b'\n')?;
                    let (name, value) = (&setting[..end], &setting[end + 1..]);
                    let name = name.strip_prefix(b"submodule.")?;
                    let dot = name.iter().rposition(|byte| *byte == b'.')?;
                    Some((name[..dot].to_vec(), name[dot + 1..].to_vec(), value.to_vec()))
                })
                .collect()
        })
    }

    #[test]
    fn it_is_read_as_git_reads_it() {
        for text in [
            "",
            "[submodule \"a\"]\n\tpath = a\n\turl = https://example.com/a.git\n",
            "\u{feff}[submodule \"a\"]\r\n\tpath = a\r\n\turl = ../a.git\r\n",
            "[SubModule \"Lib/A\"] Path=x\nURL = y # said\nupdate = !touch /tmp/x ; no\n",
            "[submodule.Old]\npath = x\n[submodule \"a\\\"b\\\\c\"]\npath=y",
            "[submodule \"a\"]\npath = \"  x # y \" \nurl = a\\\n  b\\tc\n",
            "[submodule \"a\"]\nshallow\nurl = x   y\t\npath =\n",
            "[submodule \"a\"]\npath = \"x\"y\" z\"\n",
            "[core]\nbare = true\n[submodule]\nrecurse = true\n[include]\npath = /etc/passwd\n",
            "[submodule \"a\"]\npath = x\r y\n",
            "[submodule \"a\"]\npath = x ",
            "; only\n# comments\n\n",
            "[submodule   \"a\"]path=1\n[submodule \"a\"]path=2\n",
            // What git refuses.
            "path = x\n=\n",
            "[submodule \"a\"\npath = x\n",
            "[submodule \"a\npath = x\n",
            "[submodule \"a\" ]\n",
            "[submodule a]\n",
            "[submodule \"a\"]\npath = \"x\n",
            "[submodule \"a\"]\npath = \\x\n",
            "[submodule \"a\"]\npath x\n",
            "[submodule \"a\"]\n\"path\" = x\n",
            "[submodule \"a\"]\n1path = x\n",
            "<html>\n",
            "[",
            "[submodule \"",
        ] {
            assert_eq!(ours(text.as_bytes()).ok(), gits(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = ours(b"[submodule \"a\"]\npath = x\nurl = \"y\n").unwrap_err();
        assert_eq!(error.to_string(), "line 3 of .gitmodules makes no sense");
    }

    #[test]
    fn submodules_are_found_by_their_path_and_the_last_word_counts() {
        let modules = Gitmodules::parse(
            b"[submodule \"one\"]\npath = lib\nurl = first\n[submodule \"two\"]\nurl = second\npath = lib\n\
              [submodule \"three\"]\nurl = nowhere\n[submodule \"four\"]\npath = doc\nurl = x\nupdate = checkout\n\
              [submodule \"four\"]\nupdate = none\n",
        )
        .unwrap();
        assert_eq!(modules.at(b"lib").unwrap().url.as_deref(), Some("second"));
        assert!(!modules.at(b"lib").unwrap().left_out);
        assert!(modules.at(b"doc").unwrap().left_out);
        assert_eq!(modules.at(b"one"), None);
        assert_eq!(modules.at(b"lib/"), None);
    }
}
