//! A commit that is wholly in the mirror, and where the Dockerfile and the build context are in it.

use std::sync::Arc;

use git2::{Commit, Oid};

use super::SourceError;
use super::composite::{Composite, Trees};
use super::context::{ContextRoots, GitContext};
use super::mirror::Generation;
use super::objects::{MAX_SUBMODULES, MODE_DIRECTORY, MODE_SUBMODULE, MODE_SYMLINK, Submodule, TreeItem, join};
use crate::domain::location::{self, Location};

/// Links that lead to links, before the Dockerfile.
const MAX_LINKS: usize = 16;

/// Longer targets are no paths on any system.
pub(super) const MAX_LINK_BYTES: usize = 4096;

/// How many other files a message suggests.
const MAX_SUGGESTIONS: usize = 5;

/// A fetched commit. While it or a context made from it lives, its files stay on disk.
#[derive(Clone)]
pub struct Checkout {
    composite: Arc<Composite>,
    commit: String,
    tree: Oid,
    message: String,
    author: String,
    committed_at: i64,
    submodules: Vec<Submodule>,
    max_file_bytes: u64,
}

impl Checkout {
    pub(super) fn new(
        generation: Arc<Generation>,
        commit: &Commit<'_>,
        submodules: Vec<Submodule>,
        max_file_bytes: u64,
    ) -> Self {
        Self {
            composite: Arc::new(Composite::new(generation)),
            commit: commit.id().to_string(),
            tree: commit.tree_id(),
            message: String::from_utf8_lossy(commit.message_bytes()).into_owned(),
            author: String::from_utf8_lossy(commit.author().name_bytes()).into_owned(),
            committed_at: commit.time().seconds(),
            submodules,
            max_file_bytes,
        }
    }

    /// The commit's sha, 40 lower-case hexadecimal digits; never a tag's.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The commit's message as its author wrote it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The author's name.
    pub fn author(&self) -> &str {
        &self.author
    }

    /// Seconds since 1970.
    pub fn committed_at(&self) -> i64 {
        self.committed_at
    }

    /// Paths of the submodules that were not fetched (a hundred of them), which are empty directories in every context.
    pub fn left_out_submodules(&self) -> Vec<String> {
        let paths = self.submodules.iter().take(MAX_SUBMODULES);
        paths
            .map(|submodule| String::from_utf8_lossy(&submodule.path).into_owned())
            .collect()
    }

    pub(super) fn submodules(&self) -> &[Submodule] {
        &self.submodules
    }

    pub(super) fn tree(&self) -> Oid {
        self.tree
    }

    pub(super) fn composite(&self) -> &Arc<Composite> {
        &self.composite
    }

    /// The same commit with the submodules that `composite` serves, and without these.
    pub(super) fn with_submodules(self, composite: Composite, left_out: Vec<Submodule>) -> Self {
        Self {
            composite: Arc::new(composite),
            submodules: left_out,
            ..self
        }
    }

    /// The build context of a rule, whose two fields are given as the user wrote them. Blocks on the disk.
    ///
    /// Fails with [`SourceError::Location`] if the Dockerfile or the context is not there.
    pub fn context(&self, dockerfile: &str, context: &str) -> Result<GitContext, SourceError> {
        let repository = self.composite.open()?;
        let roots = Finder {
            trees: self.composite.trees(&repository)?,
            tree: self.tree,
            commit: &self.commit,
        }
        .find(dockerfile, context)?;
        Ok(GitContext::new(
            Arc::clone(&self.composite),
            roots,
            self.committed_at,
            self.max_file_bytes,
        ))
    }
}

/// Looks for the two places in one commit's tree.
pub(super) struct Finder<'a> {
    pub(super) trees: Trees<'a>,
    pub(super) tree: Oid,
    pub(super) commit: &'a str,
}

impl Finder<'_> {
    fn find(&self, dockerfile: &str, context: &str) -> Result<ContextRoots, SourceError> {
        let Location { context, dockerfile } = self.locate(dockerfile, context)?;
        let (directory, name) = self.dockerfile(&dockerfile)?;
        Ok(ContextRoots {
            context: self.context(&context)?,
            dockerfile_directory: directory,
            dockerfile: name,
        })
    }

    /// Both places as paths, whether or not anything is there.
    pub(super) fn locate(&self, dockerfile: &str, context: &str) -> Result<Location, SourceError> {
        // The callback cannot fail, and an unreadable tree is met again below.
        let is_directory = |path: &str| {
            self.at(path)
                .is_ok_and(|found| found.is_some_and(|item| item.mode == MODE_DIRECTORY))
        };
        location::resolve(dockerfile, context, is_directory)
            .map_err(|invalid| SourceError::Location(invalid.to_string()))
    }

    /// The tree that holds the Dockerfile, and its name there; a link is followed as long as it stays inside.
    pub(super) fn dockerfile(&self, path: &str) -> Result<(Oid, String), SourceError> {
        let mut current = path.to_owned();
        for _ in 0..=MAX_LINKS {
            let Some(item) = self.at(&current)? else {
                return Err(self.missing_dockerfile(path, &current)?);
            };
            match item.mode {
                MODE_SYMLINK => current = self.link_target(path, &current, item.oid)?,
                MODE_DIRECTORY => {
                    return Err(SourceError::Location(format!(
                        "the Dockerfile location `{path}` leads to a directory, not to a file"
                    )));
                }
                MODE_SUBMODULE => return Err(in_submodule("Dockerfile", path)),
                _ => {
                    let (directory, name) = split(&current);
                    let directory = self.at(directory)?.map_or(self.tree, |item| item.oid);
                    return Ok((directory, name.to_owned()));
                }
            }
        }
        Err(SourceError::Location(format!(
            "the Dockerfile `{path}` is a symbolic link that leads through more than {MAX_LINKS} others"
        )))
    }

    fn context(&self, path: &str) -> Result<Oid, SourceError> {
        match self.at(path)? {
            Some(item) if item.mode == MODE_DIRECTORY => Ok(item.oid),
            Some(item) if item.mode == MODE_SUBMODULE => Err(in_submodule("build context", path)),
            Some(item) if item.mode == MODE_SYMLINK => Err(SourceError::Location(format!(
                "the build context `{path}` is a symbolic link; name the directory that it leads to"
            ))),
            Some(_) => Err(SourceError::Location(format!(
                "the build context `{path}` is a file, not a directory"
            ))),
            None => Err(SourceError::Location(format!(
                "there is no build context `{path}` in commit {}{}",
                self.commit,
                self.first_missing(path)?
            ))),
        }
    }

    fn link_target(&self, dockerfile: &str, link: &str, oid: Oid) -> Result<String, SourceError> {
        let (size, _) = self.trees.odb.read_header(oid)?;
        let target = match size <= MAX_LINK_BYTES {
            true => String::from_utf8(self.trees.odb.read(oid)?.data().to_vec()).ok(),
            false => None,
        };
        target.and_then(|target| within(split(link).0, &target)).ok_or_else(|| {
            SourceError::Location(format!(
                "the Dockerfile `{dockerfile}` is a symbolic link that leaves the repository"
            ))
        })
    }

    fn missing_dockerfile(&self, wanted: &str, missing: &str) -> Result<SourceError, SourceError> {
        if wanted != missing {
            return Ok(SourceError::Location(format!(
                "the Dockerfile `{wanted}` is a symbolic link to `{missing}`, which is not in commit {}",
                self.commit
            )));
        }
        let (directory, _) = split(wanted);
        let hint = match self.at(directory)? {
            Some(item) if item.mode == MODE_DIRECTORY => self.suggestions(directory, item.oid)?,
            _ => self.first_missing(directory)?,
        };
        Ok(SourceError::Location(format!(
            "there is no Dockerfile `{wanted}` in commit {}{hint}",
            self.commit
        )))
    }

    /// Files beside the missing one that may be meant.
    fn suggestions(&self, directory: &str, tree: Oid) -> Result<String, SourceError> {
        let similar: Vec<String> = self
            .trees
            .read(tree)?
            .into_iter()
            .filter(|item| item.mode != MODE_DIRECTORY && item.mode != MODE_SUBMODULE)
            .map(|item| String::from_utf8_lossy(&join(directory.as_bytes(), &item.name)).into_owned())
            .filter(|path| split(path).1.to_lowercase().contains("dockerfile"))
            .take(MAX_SUGGESTIONS)
            .map(|path| format!("`{path}`"))
            .collect();
        Ok(match similar.is_empty() {
            true => String::new(),
            false => format!("; there is {}", similar.join(", ")),
        })
    }

    /// Where a path breaks off.
    fn first_missing(&self, path: &str) -> Result<String, SourceError> {
        let mut so_far = String::new();
        for name in path.split('/') {
            let parent = so_far.clone();
            so_far = match parent.is_empty() {
                true => name.to_owned(),
                false => format!("{parent}/{name}"),
            };
            match self.at(&so_far)? {
                Some(item) if item.mode == MODE_DIRECTORY => {}
                Some(item) if item.mode == MODE_SYMLINK => {
                    return Ok(format!("; `{so_far}` is a symbolic link, which is not followed"));
                }
                Some(item) if item.mode == MODE_SUBMODULE => {
                    return Ok(format!("; `{so_far}` is a submodule, whose files are not fetched"));
                }
                Some(_) => return Ok(format!("; `{so_far}` is a file")),
                None if so_far == path => return Ok(String::new()),
                None => return Ok(format!("; there is no directory `{so_far}`")),
            }
        }
        Ok(String::new())
    }

    pub(super) fn at(&self, path: &str) -> Result<Option<TreeItem>, SourceError> {
        Ok(self.trees.at_path(self.tree, path.as_bytes())?)
    }
}

fn in_submodule(what: &str, path: &str) -> SourceError {
    SourceError::Location(format!(
        "the {what} `{path}` is a submodule, whose files are not fetched"
    ))
}

/// Directory and name; the directory of a name at the root is empty.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Where a link leads, if it stays inside the repository.
fn within(directory: &str, target: &str) -> Option<String> {
    if target.starts_with('/') || target.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    match parts.is_empty() {
        true => None,
        false => Some(parts.join("/")),
    }
}
