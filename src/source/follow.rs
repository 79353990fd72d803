//! Finds what paths lead to through symbolic links inside a context, as BuildKit's fsutil does (`followlinks.go`).
//!
//! A builder that copies `current/app` needs the link `current` and what it points to. Links cannot leave the
//! context: an absolute target is taken from its root, and `..` stops there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use git2::Oid;

use super::checkout::MAX_LINK_BYTES;
use super::composite::Trees;
use super::dockerignore::{clean, escape, has_wildcard, name_matcher};
use super::objects::{MODE_DIRECTORY, MODE_SYMLINK, ObjectError, TreeItem};

/// Links that lead to links that lead to links: a maze is not worth more.
const MAX_STEPS: usize = 10_000;

/// Files that are looked at on the way.
const MAX_LOOKED_AT: usize = 5_000_000;

/// One name of a path that is being followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    /// As the builder wrote it; may hold wildcards.
    Pattern(String),
    /// Out of a link's target: nothing in it is a wildcard.
    Literal(Vec<u8>),
}

impl Name {
    fn literally(&self) -> &[u8] {
        match self {
            Self::Pattern(text) => text.as_bytes(),
            Self::Literal(bytes) => bytes,
        }
    }
}

/// The include patterns that select `paths` and all that they lead to; `None` if that is everything.
pub(super) fn follow(trees: &Trees<'_>, root: Oid, paths: &[String]) -> Result<Option<Vec<String>>, ObjectError> {
    let mut resolver = Resolver {
        trees,
        root,
        read: HashMap::new(),
        looked_at: 0,
        found: BTreeSet::new(),
        seen: HashSet::new(),
    };
    let mut waiting: Vec<Vec<Name>> = paths.iter().rev().map(|path| names(path)).collect();
    while let Some(path) = waiting.pop() {
        if !resolver.seen.insert(path.clone()) {
            continue;
        }
        if resolver.seen.len() > MAX_STEPS {
            return Err(ObjectError::Unacceptable(format!(
                "symbolic links lead through more than {MAX_STEPS} others"
            )));
        }
        resolver.step(&path, &mut waiting)?;
    }
    match resolver.found.contains(".") {
        true => Ok(None),
        false => Ok(Some(resolver.found.into_iter().collect())),
    }
}

/// Splits and cleans a path of the builder's; what is above the root is dropped.
fn names(path: &str) -> Vec<Name> {
    let rooted = clean(&format!("/{path}"));
    let parts = rooted.split('/').filter(|part| !part.is_empty());
    parts.map(|part| Name::Pattern(part.to_owned())).collect()
}

struct Resolver<'a> {
    trees: &'a Trees<'a>,
    root: Oid,
    /// Each is read once, however many paths lead through it.
    read: HashMap<Oid, Rc<Vec<TreeItem>>>,
    looked_at: usize,
    found: BTreeSet<String>,
    seen: HashSet<Vec<Name>>,
}

impl Resolver<'_> {
    /// Goes along a path up to its end or to the first link, where other paths begin.
    fn step(&mut self, path: &[Name], waiting: &mut Vec<Vec<Name>>) -> Result<(), ObjectError> {
        for end in 1..=path.len() {
            let (current, rest) = path.split_at(end);
            let links = self.links(current)?;
            if links.is_empty() {
                continue;
            }
            self.found.insert(as_pattern(current));
            for target in links {
                waiting.push(target.into_iter().chain(rest.iter().cloned()).collect());
            }
            return Ok(());
        }
        self.found.insert(as_pattern(path));
        Ok(())
    }

    /// Where the links that a path names lead: several if its last name holds wildcards, none if it is no link.
    fn links(&mut self, path: &[Name]) -> Result<Vec<Vec<Name>>, ObjectError> {
        let Some((last, parents)) = path.split_last() else {
            return Ok(Vec::new());
        };
        let mut items = self.tree(self.root)?;
        for name in parents {
            // A wildcard above the last name is left to the patterns, as fsutil leaves it.
            match named(&items, name.literally()) {
                Some(item) if item.mode == MODE_DIRECTORY => items = self.tree(item.oid)?,
                _ => return Ok(Vec::new()),
            }
        }
        let candidates: Vec<&TreeItem> = match last {
            Name::Pattern(text) if has_wildcard(text) => {
                self.look_at(items.len())?;
                let matches = name_matcher(text);
                items.iter().filter(|item| matches(&item.name)).collect()
            }
            name => named(&items, name.literally()).into_iter().collect(),
        };
        let mut targets = Vec::new();
        for item in candidates.into_iter().filter(|item| item.mode == MODE_SYMLINK) {
            targets.extend(self.target(parents, item)?);
        }
        Ok(targets)
    }

    fn tree(&mut self, oid: Oid) -> Result<Rc<Vec<TreeItem>>, ObjectError> {
        if let Some(items) = self.read.get(&oid) {
            return Ok(Rc::clone(items));
        }
        let items = Rc::new(self.trees.read(oid)?);
        self.look_at(items.len())?;
        self.read.insert(oid, Rc::clone(&items));
        Ok(items)
    }

    fn look_at(&mut self, items: usize) -> Result<(), ObjectError> {
        self.looked_at += items;
        match self.looked_at <= MAX_LOOKED_AT {
            true => Ok(()),
            false => Err(ObjectError::Unacceptable(format!(
                "more than {MAX_LOOKED_AT} files would have to be looked at to follow symbolic links"
            ))),
        }
    }

    fn target(&self, directory: &[Name], link: &TreeItem) -> Result<Option<Vec<Name>>, ObjectError> {
        let (size, _) = self.trees.odb.read_header(link.oid)?;
        if size > MAX_LINK_BYTES {
            return Ok(None);
        }
        let object = self.trees.odb.read(link.oid)?;
        let target = object.data();
        let mut path = match target.starts_with(b"/") {
            true => Vec::new(),
            false => directory.to_vec(),
        };
        for part in target.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    path.pop();
                }
                part => path.push(Name::Literal(part.to_vec())),
            }
        }
        Ok(Some(path))
    }
}

fn named<'a>(items: &'a [TreeItem], name: &[u8]) -> Option<&'a TreeItem> {
    let found = items.binary_search_by(|item| item.name.as_slice().cmp(name));
    found.ok().map(|number| &items[number])
}

fn as_pattern(path: &[Name]) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let parts: Vec<String> = path
        .iter()
        .map(|name| match name {
            Name::Pattern(text) => text.clone(),
            Name::Literal(bytes) => escape(bytes),
        })
        .collect();
    parts.join("/")
}
