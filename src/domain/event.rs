//! What a forge tells us, in our own words.

use super::rule::SourceType;

/// Markers in a commit's message that ask for no build, compared without case.
const SKIP_MARKERS: [&str; 5] = ["[skip ci]", "[ci skip]", "[skip build]", "[build skip]", "[no ci]"];

/// A verified and parsed webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgeEvent {
    /// The forge's name for it: `push`, `ping`, `repo:push`.
    pub event: String,
    /// The forge's own id of this delivery; a redelivery bears the same.
    pub delivery_id: String,
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    Push(PushEvent),
    /// Acknowledged and recorded, nothing more; the text says why.
    Ignored(String),
}

/// One push: every ref that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushEvent {
    pub repository: PushedRepository,
    pub changes: Vec<RefChange>,
}

/// What the payload says of the repository that was pushed to, to be held against the configured source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushedRepository {
    /// `owner/name`; Bitbucket Data Center: `project/slug`; GitLab: any number of groups before the name.
    pub full_name: String,
    /// Every address under which the payload says it can be fetched or seen.
    pub urls: Vec<String>,
}

/// What became of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefChange {
    pub source_type: SourceType,
    /// Short name: `main`, `v1.0`.
    pub name: String,
    pub kind: ChangeKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// The ref was made or moved.
    Updated {
        /// Full object name, 40 or 64 lower-case hexadecimal digits. For an annotated tag whose payload names only the tag
        /// object this is that object; the checkout peels it.
        commit: String,
        /// The commit's message, where the payload has it.
        message: Option<String>,
        /// What the ref pointed to before, a full object name; `None` if it is new or the payload does not say.
        before: Option<String>,
    },
    Deleted,
}

/// Longest commit message that is kept, in bytes.
const LONGEST_MESSAGE: usize = 8 << 10;

/// A commit's message as it is kept: cut to a bound, and without the one character that PostgreSQL's texts cannot hold.
pub fn kept_message(message: &str) -> String {
    let end = message.floor_char_boundary(LONGEST_MESSAGE);
    message[..end].replace('\0', "\u{fffd}")
}

/// Whether a commit's message asks for no build.
pub fn asks_to_skip(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    SKIP_MARKERS.into_iter().find(|marker| message.contains(marker))
}

/// Whether a text is a full git object name, and not the all-zero one that stands for "nothing".
pub fn is_object_name(text: &str) -> bool {
    matches!(text.len(), 40 | 64)
        && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        && text.bytes().any(|c| c != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skip_markers_are_found_anywhere_in_any_case() {
        for message in [
            "docs [skip ci]",
            "[CI SKIP] x",
            "a\n\n[Skip Build]",
            "[build skip]",
            "[no ci]",
        ] {
            assert!(asks_to_skip(message).is_some(), "{message}");
        }
        for message in ["", "skip ci", "[skip  ci]", "[skip-ci]"] {
            assert!(asks_to_skip(message).is_none(), "{message}");
        }
    }

    #[test]
    fn messages_are_kept_within_bounds_and_without_nul() {
        assert_eq!(kept_message("a\0b"), "a\u{fffd}b");
        let kept = kept_message(&"ä".repeat(LONGEST_MESSAGE));
        assert!(kept.len() <= LONGEST_MESSAGE && kept.chars().all(|c| c == 'ä'));
    }

    #[test]
    fn object_names_are_full_lower_case_and_not_zero() {
        assert!(is_object_name("0da1a1f0b3a0c8a1b5c9b1a7b4d6e9f0a1b2c3d4"));
        for bad in ["", "0da1a1f", &"0".repeat(40), &"G".repeat(40), &"A".repeat(40)] {
            assert!(!is_object_name(bad), "{bad}");
        }
    }
}
