//! The README and the Dockerfile of a commit, for people to read. Nothing here fails a build: what cannot be read is
//! left out.

use git2::Oid;

use super::SourceError;
use super::checkout::{Checkout, Finder};
use super::composite::Trees;
use super::objects::{MODE_DIRECTORY, MODE_SUBMODULE, join};
use crate::domain::documents::{Document, Documents};

/// Names of a README in lower case, the most telling first.
const README_NAMES: [&str; 4] = ["readme.md", "readme.markdown", "readme", "readme.txt"];

/// Longer files are not read at all: only their beginning would be kept.
const LARGEST_FILE: usize = 8 << 20;

impl Checkout {
    /// The Dockerfile of a rule and the README beside it, else the one at the root. Blocks on the disk.
    pub fn documents(&self, dockerfile: &str, context: &str) -> Result<Documents, SourceError> {
        let repository = self.composite().open()?;
        let trees = self.composite().trees(&repository)?;
        let finder = Finder {
            trees,
            tree: self.tree(),
            commit: self.commit(),
        };
        let location = finder.locate(dockerfile, context)?;
        let directory = location
            .dockerfile
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory);
        let mut readme = readme_in(&finder, directory)?;
        if readme.is_none() && !directory.is_empty() {
            readme = readme_in(&finder, "")?;
        }
        Ok(Documents {
            readme,
            dockerfile: document(&finder, &location.dockerfile)?,
        })
    }
}

fn readme_in(finder: &Finder<'_>, directory: &str) -> Result<Option<Document>, SourceError> {
    let Some(tree) = finder.at(directory)?.filter(|item| item.mode == MODE_DIRECTORY) else {
        return Ok(None);
    };
    let names: Vec<Vec<u8>> = finder
        .trees
        .read(tree.oid)?
        .into_iter()
        .filter(|item| item.mode != MODE_DIRECTORY && item.mode != MODE_SUBMODULE)
        .map(|item| item.name)
        .collect();
    let named = |wanted: &str| names.iter().find(|name| name.eq_ignore_ascii_case(wanted.as_bytes()));
    let Some(name) = README_NAMES.iter().find_map(|wanted| named(wanted)) else {
        return Ok(None);
    };
    // It equals an ASCII name but for case, so it is UTF-8.
    document(finder, &String::from_utf8_lossy(&join(directory.as_bytes(), name)))
}

/// The file at a path, links inside the repository followed; `None` where they lead nowhere, or it is huge.
fn document(finder: &Finder<'_>, path: &str) -> Result<Option<Document>, SourceError> {
    let Ok((directory, name)) = finder.dockerfile(path) else {
        return Ok(None);
    };
    let found = finder.trees.at_path(directory, name.as_bytes())?;
    match found {
        Some(item) => Ok(content(&finder.trees, item.oid)?.map(|content| Document::new(path, &content))),
        None => Ok(None),
    }
}

fn content(trees: &Trees<'_>, oid: Oid) -> Result<Option<Vec<u8>>, SourceError> {
    let (size, _) = trees.odb.read_header(oid)?;
    match size <= LARGEST_FILE {
        true => Ok(Some(trees.odb.read(oid)?.data().to_vec())),
        false => Ok(None),
    }
}
