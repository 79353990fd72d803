//! What a git server says first: its refs and what it can do (git's `protocol-http` and `pack-protocol`, version 0).

use git2::Oid;

use super::SourceError;

/// The whole list, which is held in memory; a million refs with names of usual length fit.
const MAX_ADVERTISED_BYTES: usize = 96 << 20;

/// The server's refs, as it advertised them.
#[derive(Debug, Default)]
pub(super) struct Advertisement {
    /// As received; libgit2 reads it again.
    raw: Vec<u8>,
    refs: Vec<AdvertisedRef>,
    capabilities: String,
    /// How much of `raw` has been looked at.
    parsed: usize,
    flushes: usize,
}

/// One name and what it points to. Annotated tags come twice, the second time peeled, as `<name>^{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AdvertisedRef {
    pub oid: Oid,
    pub name: Vec<u8>,
}

impl Advertisement {
    /// Takes the next piece of the answer, and looks at the lines that it completes.
    pub(super) fn feed(&mut self, piece: &[u8], max_refs: usize) -> Result<(), SourceError> {
        if self.raw.len() + piece.len() > MAX_ADVERTISED_BYTES {
            return Err(SourceError::TooLarge(
                "the server's list of refs is too long".to_owned(),
            ));
        }
        self.raw.extend_from_slice(piece);
        while let Some(line) = pkt_line(&self.raw[self.parsed..])? {
            self.parsed += line.length;
            match line.content.map(<[u8]>::to_vec) {
                None => self.flushes += 1,
                Some(content) => self.line(&content)?,
            }
            if self.refs.len() > max_refs {
                return Err(SourceError::TooLarge(format!(
                    "the repository has more than {max_refs} refs"
                )));
            }
        }
        Ok(())
    }

    /// Must be called when the answer has ended.
    pub(super) fn finish(self) -> Result<Self, SourceError> {
        // One flush ends the service's announcement, the second the refs.
        if self.flushes < 2 || self.parsed != self.raw.len() {
            return Err(SourceError::Unavailable(
                "the git server's list of refs was cut off".to_owned(),
            ));
        }
        if let Some(format) = self.capability_value("object-format")
            && format != "sha1"
        {
            return Err(SourceError::Invalid(format!(
                "the repository names its objects by {format}; only SHA-1 repositories can be built"
            )));
        }
        Ok(self)
    }

    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Every name with what it points to, in the server's order.
    pub(super) fn refs(&self) -> impl Iterator<Item = (&[u8], Oid)> {
        self.refs.iter().map(|found| (found.name.as_slice(), found.oid))
    }

    /// Whether any commit that a ref leads to may be asked for by its sha.
    pub(super) fn gives_reachable(&self) -> bool {
        self.has_capability("allow-reachable-sha1-in-want")
    }

    /// The full name of the branch that `HEAD` stands for, where the server says it.
    pub(super) fn default_branch(&self) -> Option<&str> {
        self.capabilities
            .split(' ')
            .find_map(|word| word.strip_prefix("symref=HEAD:"))
    }

    pub(super) fn by_name(&self, name: &str) -> Option<Oid> {
        self.refs.iter().find(|r| r.name == name.as_bytes()).map(|r| r.oid)
    }

    /// A ref that points to this very object and can be asked for.
    pub(super) fn pointing_to(&self, oid: Oid) -> Option<String> {
        self.refs
            .iter()
            .filter(|r| r.oid == oid && r.name.starts_with(b"refs/") && !r.name.ends_with(b"^{}"))
            .find_map(|r| String::from_utf8(r.name.clone()).ok())
    }

    /// The name of a tag whose object or whose commit this is.
    pub(super) fn peeling_to(&self, oid: Oid) -> Option<String> {
        self.refs
            .iter()
            .filter(|r| r.oid == oid)
            .filter_map(|r| r.name.strip_suffix(b"^{}"))
            .find_map(|name| String::from_utf8(name.to_vec()).ok())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), SourceError> {
        if let Some(message) = line.strip_prefix(b"ERR ") {
            return Err(SourceError::Unavailable(format!(
                "the git server refused: {}",
                readable(message)
            )));
        }
        if self.flushes == 0 {
            return match line.strip_suffix(b"\n").unwrap_or(line) {
                b"# service=git-upload-pack" => Ok(()),
                _ => Err(not_git()),
            };
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (entry, capabilities) = match line.iter().position(|byte| *byte == 0) {
            Some(nul) => (&line[..nul], Some(&line[nul + 1..])),
            None => (line, None),
        };
        if let Some(capabilities) = capabilities {
            self.capabilities = String::from_utf8_lossy(capabilities).into_owned();
        }
        if entry.starts_with(b"shallow ") || entry.starts_with(b"version ") {
            return Ok(());
        }
        let (oid, name) = entry.split_at_checked(40).ok_or_else(not_git)?;
        let oid = std::str::from_utf8(oid)
            .ok()
            .and_then(|hex| Oid::from_str(hex).ok())
            .ok_or_else(not_git)?;
        if let Some(name) = name.strip_prefix(b" ")
            && name != b"capabilities^{}"
        {
            self.refs.push(AdvertisedRef {
                oid,
                name: name.to_vec(),
            });
        }
        Ok(())
    }

    fn has_capability(&self, name: &str) -> bool {
        self.capabilities.split(' ').any(|word| word == name)
    }

    fn capability_value(&self, name: &str) -> Option<&str> {
        self.capabilities
            .split(' ')
            .filter_map(|word| word.split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }
}

/// One line of git's wire format.
pub(super) struct PktLine<'a> {
    /// `None` for a flush, which ends a list.
    pub content: Option<&'a [u8]>,
    /// Of the whole line, its length prefix included.
    pub length: usize,
}

/// The first line, if all of it is there.
pub(super) fn pkt_line(bytes: &[u8]) -> Result<Option<PktLine<'_>>, SourceError> {
    let Some(prefix) = bytes.get(..4) else { return Ok(None) };
    let length = std::str::from_utf8(prefix)
        .ok()
        .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|hex| usize::from_str_radix(hex, 16).ok())
        .ok_or_else(not_git)?;
    match length {
        0 => Ok(Some(PktLine {
            content: None,
            length: 4,
        })),
        1..4 => Err(not_git()),
        _ => Ok(bytes.get(4..length).map(|line| PktLine {
            content: Some(line),
            length,
        })),
    }
}

/// Text from a server, bounded and on one line.
pub(super) fn readable(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(&message[..message.len().min(500)]);
    text.split(|c: char| c.is_control() || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn not_git() -> SourceError {
    SourceError::Invalid("the server's answer is not git's; is this the repository's clone address?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn pkt(line: &str) -> String {
        format!("{:04x}{line}", line.len() + 4)
    }

    fn answer(lines: &[String]) -> String {
        let mut answer = pkt("# service=git-upload-pack\n") + "0000";
        answer.extend(lines.iter().map(|line| pkt(line)));
        answer + "0000"
    }

    fn read(answer: &str, max_refs: usize) -> Result<Advertisement, SourceError> {
        let mut advertisement = Advertisement::default();
        // Byte by byte, as a hostile or slow server may send it.
        for byte in answer.as_bytes() {
            advertisement.feed(&[*byte], max_refs)?;
        }
        advertisement.finish()
    }

    #[test]
    fn refs_and_capabilities_are_read() {
        let answer = answer(&[
            format!("{A} HEAD\0 multi_ack allow-reachable-sha1-in-want agent=x\n"),
            format!("{A} refs/heads/main\n"),
            format!("{B} refs/tags/v1\n"),
            format!("{A} refs/tags/v1^{{}}\n"),
        ]);
        let advertisement = read(&answer, 4).unwrap();
        assert!(advertisement.gives_reachable());
        assert_eq!(advertisement.by_name("refs/tags/v1"), Some(Oid::from_str(B).unwrap()));
        assert_eq!(advertisement.by_name("refs/heads/gone"), None);
        assert_eq!(
            advertisement.pointing_to(Oid::from_str(A).unwrap()).as_deref(),
            Some("refs/heads/main")
        );
        assert_eq!(
            advertisement.peeling_to(Oid::from_str(A).unwrap()).as_deref(),
            Some("refs/tags/v1")
        );
        assert_eq!(advertisement.raw(), answer.as_bytes());
    }

    #[test]
    fn branches_and_tags_are_listed_with_the_commits_that_tags_lead_to() {
        let answer = answer(&[
            format!("{A} HEAD\0agent=x\n"),
            format!("{A} refs/heads/main\n"),
            format!("{A} refs/pull/1/head\n"),
            format!("{B} refs/tags/v1\n"),
            format!("{A} refs/tags/v1^{{}}\n"),
            format!("{A} refs/tags/v2\n"),
            format!("{B} refs/tags/other^{{}}\n"),
        ]);
        let listed = crate::source::list::advertised(&read(&answer, 9).unwrap());
        let listed: Vec<_> = listed
            .iter()
            .map(|found| (found.name.as_str(), found.commit.as_str(), found.object.as_str()))
            .collect();
        assert_eq!(listed, [("main", A, A), ("v1", A, B), ("v2", A, A)]);
    }

    #[test]
    fn an_empty_repository_has_no_refs() {
        let zero = "0".repeat(40);
        let advertisement = read(&answer(&[format!("{zero} capabilities^{{}}\0agent=x")]), 0).unwrap();
        assert!(advertisement.refs.is_empty());
    }

    #[test]
    fn more_refs_than_allowed_are_refused_before_the_end() {
        let lines: Vec<String> = (0..3).map(|n| format!("{A} refs/heads/{n}\n")).collect();
        assert!(matches!(read(&answer(&lines), 2), Err(SourceError::TooLarge(_))));
        assert!(read(&answer(&lines), 3).is_ok());
    }

    #[test]
    fn what_is_not_gits_is_said_to_be_so() {
        for bad in [
            "<!DOCTYPE html>",
            "0003",
            "zzzz",
            "0008abcd0000",
            "+004",
            "001e# service=git-receive-pack",
        ] {
            assert!(matches!(read(bad, 9), Err(SourceError::Invalid(_))), "{bad}");
        }
        assert!(matches!(read("", 9), Err(SourceError::Unavailable(_))));
        let whole = answer(&[format!("{A} refs/heads/main\n")]);
        assert!(matches!(
            read(&whole[..whole.len() - 3], 9),
            Err(SourceError::Unavailable(_))
        ));
        let sha256 = answer(&[format!("{A} HEAD\0object-format=sha256")]);
        assert!(matches!(read(&sha256, 9), Err(SourceError::Invalid(_))));
    }

    #[test]
    fn an_error_line_is_reported_without_control_characters() {
        let error = read(&answer(&["ERR no\r\n\u{1b}access".to_owned()]), 9).unwrap_err();
        assert_eq!(error.to_string(), "the git server refused: no access");
    }
}
