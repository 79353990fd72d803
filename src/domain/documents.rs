//! What a repository says of an image: its README and its Dockerfile, as texts that are safe to store and of bounded size.

use serde::{Deserialize, Serialize};

/// Longest text that is kept of a document, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// A file of a commit, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// From the repository's root.
    pub path: String,
    pub text: String,
    /// Whether the file is longer than what is kept.
    pub is_cut: bool,
}

impl Document {
    /// Keeps the beginning of a file. What is not UTF-8, and NUL, which no database takes, becomes U+FFFD.
    pub fn new(path: &str, content: &[u8]) -> Self {
        let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
        let is_cut = content.len() > MAX_BYTES;
        let kept = match is_cut {
            // Not in the middle of a character, which has four bytes at most.
            true => {
                let end = (MAX_BYTES - 3..=MAX_BYTES).rev().find(|end| is_boundary(content, *end));
                &content[..end.unwrap_or(MAX_BYTES)]
            }
            false => content,
        };
        Self {
            path: path.replace('\0', "\u{fffd}"),
            text: String::from_utf8_lossy(kept).replace('\0', "\u{fffd}"),
            is_cut,
        }
    }
}

/// Whether a character of UTF-8 may begin at `at`.
fn is_boundary(content: &[u8], at: usize) -> bool {
    content.get(at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000)
}

/// The documents of one commit, for one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    pub readme: Option<Document>,
    pub dockerfile: Option<Document>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_text_without_nul() {
        let document = |content: &[u8]| Document::new("README.md", content);
        assert_eq!(document(b"\xef\xbb\xbfa\0b\xffc").text, "a\u{fffd}b\u{fffd}c");
        assert!(!document(&vec![b'x'; MAX_BYTES]).is_cut);
        let long = document(&vec![b'x'; MAX_BYTES + 1]);
        assert!(long.is_cut && long.text.len() == MAX_BYTES);
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        let mut content = vec![b'x'; MAX_BYTES - 1];
        content.extend("ä".as_bytes());
        let document = Document::new("README.md", &content);
        assert!(
            document.is_cut && document.text.ends_with('x'),
            "{:?}",
            &document.text[MAX_BYTES - 4..]
        );
    }
}
