//! Serves a build context straight from git objects; nothing is ever written to disk.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use git2::{ObjectType, Oid, Repository};

use super::checkout::MAX_LINK_BYTES;
use super::composite::{Composite, Trees};
use super::dockerignore::{Matched, Patterns};
use super::follow::follow;
use super::objects::{
    MAX_DEPTH, MAX_ENTRIES, MODE_DIRECTORY, MODE_EXECUTABLE, MODE_SUBMODULE, MODE_SYMLINK, ObjectError, TreeItem, join,
    too_deep, too_many,
};
use crate::domain::context::{BuildContext, ContextError, ContextPart, Entry, EntryKind, Selection};

/// The trees that a rule's two fields resolved to.
pub(super) struct ContextRoots {
    pub context: Oid,
    pub dockerfile_directory: Oid,
    /// The Dockerfile's name in its directory.
    pub dockerfile: String,
}

/// A rule's build context in one commit.
pub struct GitContext {
    composite: Arc<Composite>,
    /// A repository cannot be used by two threads at once: each call takes one, or opens one if none is left.
    idle: Mutex<Vec<Repository>>,
    roots: ContextRoots,
    modified: i64,
    max_file_bytes: u64,
}

impl GitContext {
    pub(super) fn new(composite: Arc<Composite>, roots: ContextRoots, modified: i64, max_file_bytes: u64) -> Self {
        Self {
            composite,
            idle: Mutex::default(),
            roots,
            modified,
            max_file_bytes,
        }
    }

    fn with_repository<T>(&self, work: impl FnOnce(&Repository) -> Result<T, ObjectError>) -> Result<T, ContextError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let result = idle
            .map_or_else(|| self.composite.open(), Ok)
            .map_err(ObjectError::from)
            .and_then(|repository| {
                let result = work(&repository);
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.push(repository);
                result
            });
        if let Err(ObjectError::Broken(_)) = result {
            self.composite.mark_broken();
        }
        result.map_err(ContextError::from)
    }
}

impl BuildContext for GitContext {
    fn walk(
        &self,
        part: ContextPart,
        selection: &Selection,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), ContextError> {
        let root = match part {
            ContextPart::Context => self.roots.context,
            ContextPart::Dockerfile => self.roots.dockerfile_directory,
        };
        self.with_repository(|repository| {
            let trees = self.composite.trees(repository)?;
            let mut include = selection.include.clone();
            include.extend(follow(&trees, root, &selection.follow)?.unwrap_or_default());
            let mut walk = Walk {
                trees,
                include: patterns(&include)?,
                exclude: patterns(&selection.exclude)?,
                max_file_bytes: self.max_file_bytes,
                pending: Vec::new(),
                visited: 0,
                visit,
            };
            // A visitor that has seen enough is no error.
            let _enough = walk.directory(root, &[], &Above::default(), 0)?;
            Ok(())
        })
    }

    fn read(&self, object: &[u8; 20]) -> Result<Vec<u8>, ContextError> {
        self.with_repository(|repository| {
            let odb = repository.odb()?;
            let oid = Oid::from_bytes(object)?;
            let (size, kind) = odb.read_header(oid)?;
            if kind != ObjectType::Blob {
                return Err(ObjectError::Unacceptable(format!("{oid} is a {kind}, not a file")));
            }
            check_size(size as u64, self.max_file_bytes, &oid)?;
            Ok(odb.read(oid)?.data().to_vec())
        })
    }

    fn modified(&self) -> i64 {
        self.modified
    }

    fn dockerfile(&self) -> &str {
        &self.roots.dockerfile
    }
}

fn patterns(list: &[String]) -> Result<Option<Patterns>, ObjectError> {
    match list.is_empty() {
        true => Ok(None),
        false => Patterns::parse(list)
            .map(Some)
            .map_err(|bad| ObjectError::Unacceptable(bad.to_string())),
    }
}

fn check_size(size: u64, limit: u64, what: &dyn std::fmt::Display) -> Result<(), ObjectError> {
    match size <= limit {
        true => Ok(()),
        false => Err(ObjectError::Unacceptable(format!(
            "the file `{what}` has {size} bytes; {limit} are allowed"
        ))),
    }
}

/// What the patterns said of the directory that is walked.
#[derive(Default)]
struct Above {
    include: Option<Matched>,
    exclude: Option<Matched>,
}

/// One walk. A directory that is not selected itself is still looked into if something below may be, and then comes
/// right before the first such thing.
struct Walk<'a, 'v> {
    trees: Trees<'a>,
    include: Option<Patterns>,
    exclude: Option<Patterns>,
    max_file_bytes: u64,
    /// The directories above, outermost first, that were not visited yet.
    pending: Vec<Entry>,
    visited: usize,
    visit: &'v mut dyn FnMut(Entry) -> ControlFlow<()>,
}

impl Walk<'_, '_> {
    fn directory(
        &mut self,
        tree: Oid,
        path: &[u8],
        above: &Above,
        depth: usize,
    ) -> Result<ControlFlow<()>, ObjectError> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        for item in self.trees.read(tree)? {
            if self.item(&item, path, above, depth)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn item(
        &mut self,
        item: &TreeItem,
        directory: &[u8],
        above: &Above,
        depth: usize,
    ) -> Result<ControlFlow<()>, ObjectError> {
        self.visited += 1;
        if self.visited > MAX_ENTRIES {
            return Err(too_many());
        }
        let path = join(directory, &item.name);
        let is_tree = item.mode == MODE_DIRECTORY;
        let mut selected = true;
        let mut here = Above::default();
        if let Some(include) = &self.include {
            let matched = include.check(&path, above.include.as_ref());
            if !matched.is_match() {
                if is_tree && !include.may_match_below(&path) {
                    return Ok(ControlFlow::Continue(()));
                }
                selected = false;
            }
            here.include = Some(matched);
        }
        if let Some(exclude) = &self.exclude {
            let matched = exclude.check(&path, above.exclude.as_ref());
            if matched.is_match() {
                if is_tree && !exclude.may_except_below(&path) {
                    return Ok(ControlFlow::Continue(()));
                }
                selected = false;
            }
            here.exclude = Some(matched);
        }
        if !selected && !is_tree {
            return Ok(ControlFlow::Continue(()));
        }
        let entry = self.entry(item, path)?;
        let path = entry.path.clone();
        let depth_before = self.pending.len();
        if selected {
            for entry in std::mem::take(&mut self.pending).into_iter().chain([entry]) {
                if (self.visit)(entry).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        } else {
            self.pending.push(entry);
        }
        if is_tree {
            let flow = self.directory(item.oid, &path, &here, depth + 1)?;
            // What was below has emptied the list, or left it with this directory at its end.
            self.pending.truncate(depth_before);
            return Ok(flow);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn entry(&self, item: &TreeItem, path: Vec<u8>) -> Result<Entry, ObjectError> {
        let kind = match item.mode {
            // A submodule that is not served is an empty directory, as in a clone without its submodules.
            MODE_DIRECTORY | MODE_SUBMODULE => EntryKind::Directory,
            MODE_SYMLINK => {
                let (size, _) = self.trees.odb.read_header(item.oid)?;
                if size > MAX_LINK_BYTES {
                    return Err(ObjectError::Unacceptable(format!(
                        "the symbolic link `{}` is longer than {MAX_LINK_BYTES} bytes",
                        String::from_utf8_lossy(&path)
                    )));
                }
                EntryKind::Symlink {
                    target: self.trees.odb.read(item.oid)?.data().to_vec(),
                }
            }
            mode => {
                let (size, _) = self.trees.odb.read_header(item.oid)?;
                check_size(size as u64, self.max_file_bytes, &String::from_utf8_lossy(&path))?;
                EntryKind::File {
                    size: size as u64,
                    executable: mode == MODE_EXECUTABLE,
                }
            }
        };
        let mut object = [0; 20];
        object.copy_from_slice(item.oid.as_bytes());
        Ok(Entry { path, kind, object })
    }
}
