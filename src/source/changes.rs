//! Which files differ between an earlier commit and the one that is built: tree against tree, with an early end.
//!
//! The earlier commit is fetched as far as that costs little; whoever asks must do without it if that fails. Renames are
//! not looked for: both names are changed. Of a submodule only that it points elsewhere counts, as a change of its directory.

use std::cmp::Ordering;
use std::sync::Arc;

use git2::{Odb, Oid, Repository};

use super::fetch::Fetch;
use super::limits::Limits;
use super::mirror::MirrorKey;
use super::objects::{
    MAX_DEPTH, MAX_ENTRIES, MODE_DIRECTORY, MODE_SUBMODULE, ObjectError, TreeItem, join, peel, read_tree, too_deep,
    too_many,
};
use super::{Checkout, SourceError, Wanted};
use crate::domain::path_filter::PathFilter;
use crate::domain::rule::SourceType;

/// Changed files that are looked at; a push that changes more is taken to change anything.
const MOST_CHANGES: usize = 200_000;

/// What a commit is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// This commit; 40 hexadecimal digits.
    Commit(String),
    /// Where the branch left the server's default branch.
    DefaultBranch,
}

/// What is to be compared.
#[derive(Clone, Copy)]
pub struct Comparison<'a> {
    pub checkout: &'a Checkout,
    /// What it was pushed to, short name.
    pub branch: &'a str,
    pub since: &'a Since,
    pub filter: &'a Arc<PathFilter>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// The first changed file, in the order of paths, that the filter matches, readable.
    Match(String),
    /// None of so many.
    NoMatch(usize),
}

/// The trees that are compared. Each is read from the mirror that its commit was fetched into.
struct Trees<'a> {
    old: Side<'a>,
    new: Side<'a>,
    filter: &'a PathFilter,
    limits: &'a Limits,
    changed: usize,
    directories: usize,
}

struct Side<'a> {
    repository: &'a Repository,
    odb: Odb<'a>,
}

impl Side<'_> {
    /// The lines of a tree; of none, none.
    fn read(&self, tree: Option<Oid>) -> Result<Vec<TreeItem>, ObjectError> {
        tree.map_or(Ok(Vec::new()), |tree| read_tree(self.repository, &self.odb, tree))
    }
}

/// Fetches what is to be compared with, and compares.
pub(super) async fn find(fetch: Fetch, key: MirrorKey<'_>, comparison: Comparison<'_>) -> Result<Changes, SourceError> {
    let Comparison {
        checkout,
        branch,
        since,
        filter,
    } = comparison;
    let limits = Arc::clone(&fetch.limits);
    let compare = async |old: Old| {
        let (checkout, filter, shared) = (checkout.clone(), Arc::clone(filter), Arc::clone(&limits));
        let compared = tokio::task::spawn_blocking(move || compare(old, &checkout, &filter, &shared));
        limits.wait(compared).await?.map_err(SourceError::mirror)?
    };
    let old = match since {
        Since::Commit(sha) => {
            // Built before, it is usually where the new commit is; then nothing is to be fetched.
            match compare(Old::AtHand(sha.clone())).await {
                Err(SourceError::Mirror(_)) => {}
                known => return known,
            }
            let wanted = Wanted::Commit {
                sha: sha.clone(),
                source_type: SourceType::Branch,
                name: Some(branch.to_owned()),
            };
            fetch.run(key, &wanted).await?
        }
        Since::DefaultBranch => fetch.branched_off(key, checkout.commit(), branch).await?,
    };
    compare(Old::Fetched(old)).await
}

/// The commit that is compared with.
enum Old {
    /// Perhaps in the mirror of the other.
    AtHand(String),
    Fetched(Checkout),
}

impl Old {
    /// Opens what it is read from, and answers its tree.
    fn open(&self, new: &Checkout) -> Result<(Repository, Oid), SourceError> {
        match self {
            Self::AtHand(sha) => {
                let repository = new.composite().open()?;
                let (commit, _) = peel(&repository, Oid::from_str(sha)?)?;
                let tree = repository.find_commit(commit)?.tree_id();
                Ok((repository, tree))
            }
            Self::Fetched(checkout) => Ok((checkout.composite().open()?, checkout.tree())),
        }
    }
}

fn compare(old: Old, new: &Checkout, filter: &PathFilter, limits: &Limits) -> Result<Changes, SourceError> {
    let new_repository = new.composite().open()?;
    let (old_repository, old_tree) = old.open(new)?;
    let mut trees = Trees {
        old: Side {
            odb: old_repository.odb()?,
            repository: &old_repository,
        },
        new: Side {
            odb: new_repository.odb()?,
            repository: &new_repository,
        },
        filter,
        limits,
        changed: 0,
        directories: 0,
    };
    let found = trees.directory(&[], Some(old_tree), Some(new.tree()), 0)?;
    Ok(match found {
        Some(path) => Changes::Match(String::from_utf8_lossy(&path).into_owned()),
        None => Changes::NoMatch(trees.changed),
    })
}

impl Trees<'_> {
    /// The first changed file in a directory that the filter matches; `None` on one side: the directory is not there.
    fn directory(
        &mut self,
        path: &[u8],
        old: Option<Oid>,
        new: Option<Oid>,
        depth: usize,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        self.limits.check()?;
        if depth > MAX_DEPTH {
            return Err(too_deep().into());
        }
        if old == new {
            return Ok(None);
        }
        self.directories += 1;
        if self.directories > MAX_ENTRIES {
            return Err(too_many().into());
        }
        let mut old = self.old.read(old)?.into_iter().peekable();
        let mut new = self.new.read(new)?.into_iter().peekable();
        loop {
            let (before, after) = match (old.peek(), new.peek()) {
                (None, None) => return Ok(None),
                (Some(_), None) => (old.next(), None),
                (None, Some(_)) => (None, new.next()),
                (Some(before), Some(after)) => match before.name.cmp(&after.name) {
                    Ordering::Less => (old.next(), None),
                    Ordering::Greater => (None, new.next()),
                    Ordering::Equal => (old.next(), new.next()),
                },
            };
            if let Some(found) = self.entry(path, before, after, depth)? {
                return Ok(Some(found));
            }
        }
    }

    /// The same for one name in a directory.
    fn entry(
        &mut self,
        directory: &[u8],
        old: Option<TreeItem>,
        new: Option<TreeItem>,
        depth: usize,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(name) = new.as_ref().or(old.as_ref()).map(|item| &item.name) else {
            return Ok(None);
        };
        let path = join(directory, name);
        let tree = |item: &Option<TreeItem>| {
            item.as_ref()
                .filter(|item| item.mode == MODE_DIRECTORY)
                .map(|item| item.oid)
        };
        // What is no directory on a side is a file there, or a submodule.
        let file = |item: Option<TreeItem>| item.filter(|item| item.mode != MODE_DIRECTORY);
        let (old_tree, new_tree) = (tree(&old), tree(&new));
        let (old, new) = (file(old), file(new));
        if old.as_ref().map(|item| (item.mode, item.oid)) != new.as_ref().map(|item| (item.mode, item.oid)) {
            for item in [&old, &new].into_iter().flatten() {
                if self.counts(&path, item.mode)? {
                    return Ok(Some(path));
                }
            }
            self.changed += 1;
        }
        match (old_tree, new_tree) {
            (None, None) => Ok(None),
            (old, new) => self.directory(&path, old, new, depth + 1),
        }
    }

    fn counts(&self, path: &[u8], mode: i32) -> Result<bool, SourceError> {
        self.limits.check()?;
        if self.changed >= MOST_CHANGES {
            return Err(SourceError::TooLarge(format!(
                "more than {MOST_CHANGES} files were changed"
            )));
        }
        Ok(match mode {
            MODE_SUBMODULE => self.filter.matches(&[path, b"/"].concat()),
            _ => self.filter.matches(path),
        })
    }
}
