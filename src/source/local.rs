//! Sources on this machine (`file://`): copies one commit's objects into the mirror.
//!
//! libgit2's local transport takes all history of all refs, so the commit is copied by hand, without its history and
//! without what the mirror has already.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use git2::{Oid, Repository};
use url::Url;

use super::SourceError;
use super::limits::Limits;
use super::objects::{MODE_DIRECTORY, MODE_SUBMODULE, ObjectError, peel, visit_trees};

/// Opens a bare repository or the one in a work tree's `.git`. Its hooks and filters are never looked at.
pub(super) fn open(url: &Url) -> Result<Repository, SourceError> {
    let path = url
        .to_file_path()
        .map_err(|()| SourceError::Invalid(format!("`{url}` is no path on this machine")))?;
    Repository::open_bare(&path)
        .or_else(|_| Repository::open_bare(path.join(Path::new(".git"))))
        .map_err(|error| {
            SourceError::NotFound(format!(
                "there is no git repository at {}: {}",
                path.display(),
                error.message()
            ))
        })
}

/// What a branch or tag points to now.
pub(super) fn resolve(source: &Repository, full_name: &str) -> Option<Oid> {
    source.find_reference(full_name).ok()?.resolve().ok()?.target()
}

/// Copies a commit, or a tag and its commit, as one pack.
pub(super) fn copy(source: &Repository, mirror: &Repository, oid: Oid, limits: &Limits) -> Result<(), SourceError> {
    let unreadable = |error: &dyn std::fmt::Display| SourceError::Unavailable(format!("the source is broken: {error}"));
    let faulty = |error: ObjectError| match error {
        ObjectError::Broken(text) => unreadable(&text),
        error => error.into(),
    };
    let (commit, tags) = peel(source, oid).map_err(faulty)?;
    let commit = source.find_commit(commit).map_err(|error| faulty(error.into()))?;
    let tree = commit.tree_id();
    let target = mirror.odb()?;
    let mut lacking: HashSet<Oid> = tags.into_iter().chain([commit.id(), tree]).collect();
    let enter = |tree| !target.exists(tree);
    visit_trees(source, tree, limits, enter, |_, item| {
        if item.mode == MODE_DIRECTORY || (item.mode != MODE_SUBMODULE && !target.exists(item.oid)) {
            lacking.insert(item.oid);
        }
        Ok(())
    })
    .map_err(faulty)?;
    let mut pack = source.packbuilder()?;
    for oid in lacking {
        pack.insert_object(oid, None).map_err(|e| unreadable(&e.message()))?;
    }
    let mut writer = target.packwriter()?;
    let mut failure = None;
    let written = pack.foreach(|bytes| {
        let result = limits
            .check()
            .and_then(|()| limits.receive(bytes.len()))
            .and_then(|()| writer.write_all(bytes).map_err(SourceError::from));
        failure = result.err();
        failure.is_none()
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    written.map_err(|e| unreadable(&e.message()))?;
    writer.commit()?;
    Ok(())
}
