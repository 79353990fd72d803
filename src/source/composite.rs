//! The objects of a commit and of its submodules, read as if they were one repository.
//!
//! Each submodule keeps its own mirror; only the repository that is opened to read knows of them all. Nothing is ever
//! written through it.

use std::collections::HashMap;
use std::sync::Arc;

use git2::{Odb, Oid, Repository};

use super::mirror::Generation;
use super::objects::{MODE_DIRECTORY, MODE_SUBMODULE, ObjectError, TreeItem, read_tree};

/// What one commit is read from. It all stays on disk as long as this lives.
#[derive(Clone)]
pub(super) struct Composite {
    own: Arc<Generation>,
    submodules: Vec<Arc<Generation>>,
    /// The root tree of every submodule's commit. The commit's sha names all of its content, so it does not matter
    /// where in the tree it is met.
    roots: HashMap<Oid, Oid>,
}

impl Composite {
    pub(super) fn new(own: Arc<Generation>) -> Self {
        Self {
            own,
            submodules: Vec::new(),
            roots: HashMap::new(),
        }
    }

    /// Serves a submodule's commit, which has no submodules of its own yet, wherever a tree names it.
    pub(super) fn add(&mut self, commit: Oid, tree: Oid, submodule: &Self) {
        self.roots.insert(commit, tree);
        let generation = &submodule.own;
        if !self.submodules.iter().any(|known| known.is(generation)) {
            self.submodules.push(Arc::clone(generation));
        }
    }

    pub(super) fn serves(&self, commit: Oid) -> bool {
        self.roots.contains_key(&commit)
    }

    /// Opens everything as one; each thread needs its own.
    pub(super) fn open(&self) -> Result<Repository, git2::Error> {
        let repository = self.own.open()?;
        if !self.submodules.is_empty() {
            let odb = repository.odb()?;
            for submodule in &self.submodules {
                odb.add_disk_alternate(&submodule.objects()?)?;
            }
        }
        Ok(repository)
    }

    /// The trees of what [`Composite::open`] gave.
    pub(super) fn trees<'a>(&'a self, repository: &'a Repository) -> Result<Trees<'a>, git2::Error> {
        Ok(Trees {
            repository,
            odb: repository.odb()?,
            roots: &self.roots,
        })
    }

    /// Makes the next fetch begin afresh. Which part an object is missing from is not known, so it is all of them.
    pub(super) fn mark_broken(&self) {
        for generation in self.submodules.iter().chain([&self.own]) {
            generation.mark_broken();
        }
    }
}

/// Trees in which a submodule that is served is a directory like any other.
pub(super) struct Trees<'a> {
    repository: &'a Repository,
    pub odb: Odb<'a>,
    roots: &'a HashMap<Oid, Oid>,
}

impl Trees<'_> {
    /// The lines of a tree, in byte order of their names.
    pub(super) fn read(&self, oid: Oid) -> Result<Vec<TreeItem>, ObjectError> {
        let mut items = read_tree(self.repository, &self.odb, oid)?;
        for item in items.iter_mut().filter(|item| item.mode == MODE_SUBMODULE) {
            if let Some(root) = self.roots.get(&item.oid) {
                item.mode = MODE_DIRECTORY;
                item.oid = *root;
            }
        }
        Ok(items)
    }

    /// What is at a path below a tree; an empty path is the tree itself. Links are not followed.
    pub(super) fn at_path(&self, root: Oid, path: &[u8]) -> Result<Option<TreeItem>, ObjectError> {
        let mut found = TreeItem {
            name: Vec::new(),
            mode: MODE_DIRECTORY,
            oid: root,
        };
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            if found.mode != MODE_DIRECTORY {
                return Ok(None);
            }
            match self.read(found.oid)?.into_iter().find(|item| item.name == name) {
                Some(item) => found = item,
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }
}
