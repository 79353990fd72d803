//! What the engine needs to know of a build context, whoever holds the files.
//!
//! `source` implements [`BuildContext`] over git objects; `engine` serves it to the builder. Neither knows the other.

use std::ops::ControlFlow;

/// What an entry is. Devices, sockets and FIFOs cannot come out of a git tree and have no place here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    Directory,
    /// A regular file: its length in bytes, and whether its execute bit is set.
    File {
        size: u64,
        executable: bool,
    },
    /// A symbolic link, never followed: its target, byte for byte.
    Symlink {
        target: Vec<u8>,
    },
}

/// One file, directory or link of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the context's root, `/`-separated, without a leading slash; any bytes but NUL.
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// Names the content for [`BuildContext::read`].
    pub object: [u8; 20],
}

/// Which part of a context is wanted. All patterns are in the syntax of `.dockerignore`; empty lists select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only what matches one of these, with the directories above it.
    pub include: Vec<String>,
    /// All but these; a later `!pattern` brings back.
    pub exclude: Vec<String>,
    /// Only these paths and what they lead to through symbolic links inside the context.
    pub follow: Vec<String>,
}

/// Why a context could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// What the user must fix: a path that leaves the repository, a malformed pattern.
    #[error("{0}")]
    Invalid(String),
    /// The mirror cannot be read; our or the machine's fault.
    #[error("the source mirror cannot be read: {0}")]
    Unreadable(String),
}

/// Which of the two trees the builder asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextPart {
    /// The build context itself.
    Context,
    /// The directory that holds the Dockerfile, which need not be inside the context.
    Dockerfile,
}

/// A read-only tree of files, held by somebody else. All calls block; call them off the async threads.
pub trait BuildContext: Send + Sync + 'static {
    /// Visits the selected entries, a directory before what is in it, siblings in byte order of their names with
    /// `/` sorting before every other byte: the order that BuildKit's file sync demands.
    fn walk(
        &self,
        part: ContextPart,
        selection: &Selection,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), ContextError>;

    /// The content of a file met in a walk.
    fn read(&self, object: &[u8; 20]) -> Result<Vec<u8>, ContextError>;

    /// Seconds since 1970 that every entry bears as its modification time: the commit's, so that caches hit.
    fn modified(&self) -> i64;

    /// The Dockerfile's path inside [`ContextPart::Dockerfile`].
    fn dockerfile(&self) -> &str;
}
