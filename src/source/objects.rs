//! Reads git objects with bounds, since whoever pushed them chose every byte.

use std::collections::HashSet;

use git2::{ErrorClass, ErrorCode, ObjectType, Odb, Oid, Repository};

use super::SourceError;
use super::limits::Limits;
use crate::domain::context::ContextError;

/// Larger trees and commits than these are attacks, not software.
const MAX_TREE_BYTES: usize = 64 << 20;
const MAX_COMMIT_BYTES: usize = 4 << 20;

/// Directories within directories.
pub(super) const MAX_DEPTH: usize = 256;

/// All files and directories of a commit.
pub(super) const MAX_ENTRIES: usize = 1_000_000;

/// Tags that point to tags.
const MAX_TAGS: usize = 16;

/// Of a commit, those within its submodules included. One more is listed, so that too many are noticed.
pub(super) const MAX_SUBMODULES: usize = 100;

pub(super) const MODE_DIRECTORY: i32 = 0o040_000;
pub(super) const MODE_SYMLINK: i32 = 0o120_000;
pub(super) const MODE_SUBMODULE: i32 = 0o160_000;
pub(super) const MODE_EXECUTABLE: i32 = 0o100_755;

/// Why objects could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObjectError {
    /// The mirror lacks it or cannot read it.
    #[error("{0}")]
    Broken(String),
    /// It is as it was pushed, and not acceptable.
    #[error("{0}")]
    Unacceptable(String),
    /// The fetch ended for another reason.
    #[error(transparent)]
    Ended(SourceError),
}

impl From<git2::Error> for ObjectError {
    fn from(error: git2::Error) -> Self {
        match error.class() {
            // It was read and its hash is right, so it is as it was pushed.
            ErrorClass::Tree | ErrorClass::Tag | ErrorClass::Object | ErrorClass::Invalid
                if error.code() != ErrorCode::NotFound =>
            {
                Self::Unacceptable(format!("the commit holds a malformed object: {}", error.message()))
            }
            _ => Self::Broken(error.message().to_owned()),
        }
    }
}

impl From<ObjectError> for SourceError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Broken(text) => Self::Mirror(text),
            ObjectError::Unacceptable(text) => Self::Invalid(text),
            ObjectError::Ended(error) => error,
        }
    }
}

impl From<ObjectError> for ContextError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Unacceptable(text) => Self::Invalid(text),
            error @ (ObjectError::Broken(_) | ObjectError::Ended(_)) => Self::Unreadable(error.to_string()),
        }
    }
}

/// One line of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TreeItem {
    pub name: Vec<u8>,
    pub mode: i32,
    pub oid: Oid,
}

/// Where a commit names one of another repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Submodule {
    pub path: Vec<u8>,
    pub commit: Oid,
}

/// Follows tags from `oid` to a commit. The tags on the way come along.
pub(super) fn peel(repository: &Repository, oid: Oid) -> Result<(Oid, Vec<Oid>), ObjectError> {
    let odb = repository.odb()?;
    let mut tags = Vec::new();
    let mut current = oid;
    loop {
        let (size, kind) = odb.read_header(current)?;
        if size > MAX_COMMIT_BYTES {
            return Err(ObjectError::Unacceptable(format!(
                "the {kind} {current} is larger than {} MiB",
                MAX_COMMIT_BYTES >> 20
            )));
        }
        match kind {
            ObjectType::Commit => return Ok((current, tags)),
            ObjectType::Tag if tags.len() < MAX_TAGS => {
                tags.push(current);
                current = repository.find_tag(current)?.target_id();
            }
            ObjectType::Tag => {
                return Err(ObjectError::Unacceptable(format!(
                    "{oid} leads through more than {MAX_TAGS} tags"
                )));
            }
            kind => {
                return Err(ObjectError::Unacceptable(format!(
                    "{oid} leads to a {kind}, not to a commit; only commits can be built"
                )));
            }
        }
    }
}

/// The lines of a tree, in byte order of their names.
pub(super) fn read_tree(repository: &Repository, odb: &Odb<'_>, oid: Oid) -> Result<Vec<TreeItem>, ObjectError> {
    let (size, kind) = odb.read_header(oid)?;
    if kind != ObjectType::Tree {
        return Err(ObjectError::Unacceptable(format!("{oid} is a {kind}, not a directory")));
    }
    if size > MAX_TREE_BYTES {
        return Err(ObjectError::Unacceptable(format!(
            "the directory {oid} is larger than {} MiB",
            MAX_TREE_BYTES >> 20
        )));
    }
    let tree = repository.find_tree(oid)?;
    let mut items: Vec<TreeItem> = tree
        .iter()
        .map(|entry| TreeItem {
            name: entry.name_bytes().to_vec(),
            mode: entry.filemode(),
            oid: entry.id(),
        })
        .collect();
    items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let evil = |name: &[u8]| matches!(name, b"" | b"." | b"..") || name.contains(&b'/');
    if let Some(item) = items.iter().find(|item| evil(&item.name)) {
        return Err(ObjectError::Unacceptable(format!(
            "the commit holds a file named `{}`, which no file can be",
            String::from_utf8_lossy(&item.name)
        )));
    }
    if let Some([item, _]) = items.array_windows().find(|[a, b]| a.name == b.name) {
        return Err(ObjectError::Unacceptable(format!(
            "the commit holds two files named `{}` in one directory",
            String::from_utf8_lossy(&item.name)
        )));
    }
    Ok(items)
}

/// Visits each distinct tree once and each of its entries, a tree before what is in it. `enter` says whether to look
/// into a tree.
pub(super) fn visit_trees(
    repository: &Repository,
    root: Oid,
    limits: &Limits,
    mut enter: impl FnMut(Oid) -> bool,
    mut visit: impl FnMut(&[u8], &TreeItem) -> Result<(), ObjectError>,
) -> Result<(), ObjectError> {
    let odb = repository.odb()?;
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![(Vec::new(), root, 0)];
    let mut entries = 0;
    while let Some((path, oid, depth)) = waiting.pop() {
        limits.check().map_err(ObjectError::Ended)?;
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        if !enter(oid) {
            continue;
        }
        for item in read_tree(repository, &odb, oid)? {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(too_many());
            }
            let path = join(&path, &item.name);
            visit(&path, &item)?;
            if item.mode == MODE_DIRECTORY && seen.insert(item.oid) {
                waiting.push((path, item.oid, depth + 1));
            }
        }
    }
    Ok(())
}

/// Makes sure that the mirror holds everything that a commit's tree names. Returns the submodules.
pub(super) fn require_complete(
    repository: &Repository,
    tree: Oid,
    limits: &Limits,
) -> Result<Vec<Submodule>, ObjectError> {
    let odb = repository.odb()?;
    let mut submodules = Vec::new();
    let visit = |path: &[u8], item: &TreeItem| match item.mode {
        MODE_DIRECTORY => Ok(()),
        MODE_SUBMODULE => {
            if submodules.len() <= MAX_SUBMODULES {
                submodules.push(Submodule {
                    path: path.to_vec(),
                    commit: item.oid,
                });
            }
            Ok(())
        }
        _ if odb.exists(item.oid) => Ok(()),
        _ => Err(ObjectError::Broken(format!(
            "`{}` is missing",
            String::from_utf8_lossy(path)
        ))),
    };
    visit_trees(repository, tree, limits, |_| true, visit)?;
    submodules.sort_unstable();
    Ok(submodules)
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory.is_empty() {
        true => name.to_vec(),
        false => [directory, b"/", name].concat(),
    }
}

pub(super) fn too_deep() -> ObjectError {
    ObjectError::Unacceptable(format!("the commit's directories are nested deeper than {MAX_DEPTH}"))
}

pub(super) fn too_many() -> ObjectError {
    ObjectError::Unacceptable(format!("the commit holds more than {MAX_ENTRIES} files"))
}
