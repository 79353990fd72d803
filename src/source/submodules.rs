//! Fetches the submodules of a commit, and theirs in turn.
//!
//! A repository says where its submodules are, so every address is a stranger's and passes the gate. No work tree is
//! involved: a path of `.gitmodules` is only compared with the paths of the commit, never written to, and no setting in
//! it makes anything run.
//!
//! A commit cannot hold itself, so there are no circles but only long ways: these are bounded in depth and number.

use std::collections::HashSet;
use std::sync::Arc;

use git2::{ObjectType, Oid};

use super::composite::Composite;
use super::fetch::Fetch;
use super::gitmodules::{self, Gitmodules};
use super::mirror::MirrorKey;
use super::objects::{MAX_SUBMODULES, MODE_DIRECTORY, MODE_SUBMODULE, MODE_SYMLINK, ObjectError, Submodule, join};
use super::submodule_url::{Resolved, resolve, shown};
use super::{Checkout, SourceError, Wanted};
use crate::domain::build::Step;
use crate::domain::progress::Progress;
use crate::domain::rule::SourceType;
use crate::domain::source_url::{SourcePolicy, SourceUrl};

/// Submodules within submodules.
const MAX_DEPTH: usize = 10;

const SWITCH_OFF: &str = "or switch the source's submodules off";

/// All submodules of one commit.
pub(super) struct Submodules<'a> {
    pub mirror_key: &'a str,
    pub policy: SourcePolicy,
    /// What the commit itself was fetched with. Its limits are those of all submodules together.
    pub source: Fetch,
}

/// A fetched commit whose submodules are still to be looked at.
struct Parent {
    /// Where it is in the source's own commit; empty for that one itself.
    path: Vec<u8>,
    url: SourceUrl,
    checkout: Checkout,
    depth: usize,
}

impl Submodules<'_> {
    pub(super) async fn fetch(&self, checkout: Checkout) -> Result<Checkout, SourceError> {
        let mut composite = Composite::clone(checkout.composite());
        let mut left_out = Vec::new();
        let mut known: HashSet<(String, Oid)> = HashSet::new();
        let mut count = 0;
        let mut waiting = vec![Parent {
            path: Vec::new(),
            url: self.source.url.clone(),
            checkout: checkout.clone(),
            depth: 0,
        }];
        while let Some(parent) = waiting.pop() {
            if parent.checkout.submodules().is_empty() {
                continue;
            }
            let declared = declarations(&parent).await?;
            for Submodule { path, commit } in parent.checkout.submodules() {
                count += 1;
                if count > MAX_SUBMODULES {
                    return Err(SourceError::TooLarge(format!(
                        "the commit has more than {MAX_SUBMODULES} submodules, those of its submodules included; \
                         remove some, {SWITCH_OFF}"
                    )));
                }
                let place = join(&parent.path, path);
                let Some(written) = address(&declared, path, &place)? else {
                    left_out.push(Submodule {
                        path: place,
                        commit: *commit,
                    });
                    continue;
                };
                let Resolved { url, rewritten } = resolve(written, &parent.url, self.policy).map_err(|refused| {
                    SourceError::Invalid(format!(
                        "submodule `{}` is not fetched from `{}`: {refused}; change its url in .gitmodules, {SWITCH_OFF}",
                        readable(&place),
                        shown(written),
                    ))
                })?;
                if !known.insert((url.as_str().to_owned(), *commit)) {
                    continue;
                }
                if parent.depth == MAX_DEPTH {
                    return Err(SourceError::Invalid(format!(
                        "submodule `{}` is nested deeper than {MAX_DEPTH} submodules; remove it, {SWITCH_OFF}",
                        readable(&place)
                    )));
                }
                let instead = match rewritten {
                    true => format!(" (in place of {})", shown(written)),
                    false => String::new(),
                };
                self.source.progress.line(&format!(
                    "Fetching submodule {} at {commit} from {}{instead}",
                    readable(&place),
                    url.as_str()
                ));
                let fetched = self.one(&url, *commit).await;
                let fetched = fetched.map_err(|error| self.explain(error, &place, &url))?;
                composite.add(*commit, fetched.tree(), fetched.composite());
                waiting.push(Parent {
                    path: place,
                    url,
                    checkout: fetched,
                    depth: parent.depth + 1,
                });
            }
        }
        // The same commit may be fetched for another place, and then stands in both.
        left_out.retain(|submodule| !composite.serves(submodule.commit));
        if !left_out.is_empty() {
            let paths: Vec<String> = left_out.iter().map(|submodule| readable(&submodule.path)).collect();
            self.source.progress.line(&format!(
                "Left out, as .gitmodules says `update = none`: {}",
                paths.join(", ")
            ));
        }
        Ok(checkout.with_submodules(composite, left_out))
    }

    async fn one(&self, url: &SourceUrl, commit: Oid) -> Result<Checkout, SourceError> {
        let key = MirrorKey {
            repository: self.mirror_key,
            submodule: Some(url.as_str()),
        };
        let wanted = Wanted::Commit {
            sha: commit.to_string(),
            source_type: SourceType::Branch,
            name: None,
        };
        let fetch = Fetch {
            url: url.clone(),
            credentials: self.source.credentials.clone().filter(|_| self.is_own_host(url)),
            progress: Arc::new(Silent),
            ..self.source.clone()
        };
        fetch.run(key, &wanted).await
    }

    /// Whether scheme, host and port are the source's own. `file` has none and is never the same.
    fn is_own_host(&self, url: &SourceUrl) -> bool {
        url.as_url().origin() == self.source.url.as_url().origin()
    }

    /// Says which submodule an error is about, and what can be done about it.
    fn explain(&self, error: SourceError, path: &[u8], url: &SourceUrl) -> SourceError {
        let with = |text: String| format!("submodule `{}` ({}): {text}", readable(path), url.as_str());
        let access = match (self.is_own_host(url), &self.source.credentials) {
            (true, Some(_)) => "give the source's credentials access to it too",
            (true, None) => "store credentials with the source that have access to it",
            (false, _) => "the source's credentials are for its own host alone, so make it public",
        };
        match error {
            SourceError::Invalid(text) => SourceError::Invalid(with(text)),
            SourceError::Location(text) => SourceError::Location(with(text)),
            SourceError::Auth(text) => SourceError::Auth(with(format!("{text}; {access}, {SWITCH_OFF}"))),
            SourceError::NotFound(text) => SourceError::NotFound(with(format!("{text}; {access}, {SWITCH_OFF}"))),
            SourceError::CommitGone { commit } => SourceError::NotFound(with(format!(
                "commit {commit} is not on the server: it was never pushed there, or force-pushed away; \
                 record another commit, {SWITCH_OFF}"
            ))),
            SourceError::RefGone { name } => SourceError::NotFound(with(format!("there is no {name} on the server"))),
            SourceError::TooLarge(text) => {
                SourceError::TooLarge(with(format!("{text} (all submodules of a commit count together)")))
            }
            SourceError::Timeout(text) => SourceError::Timeout(with(text)),
            SourceError::Unavailable(text) => SourceError::Unavailable(with(text)),
            SourceError::Mirror(text) => SourceError::Mirror(with(text)),
            SourceError::Canceled => SourceError::Canceled,
        }
    }
}

/// What `.gitmodules` says of one submodule: its address, or nothing if it is to be left out.
fn address<'a>(declared: &'a Gitmodules, path: &[u8], place: &[u8]) -> Result<Option<&'a str>, SourceError> {
    if path
        .split(|byte| *byte == b'/')
        .any(|name| name.eq_ignore_ascii_case(b".git"))
    {
        return Err(SourceError::Invalid(format!(
            "submodule `{}` is where git keeps its own files",
            readable(place)
        )));
    }
    let declaration = declared.at(path);
    if declaration.is_some_and(|declaration| declaration.left_out) {
        return Ok(None);
    }
    let url = declaration.and_then(|declaration| declaration.url.as_deref());
    url.map(Some).ok_or_else(|| {
        SourceError::Invalid(format!(
            "no url for submodule path `{}` in .gitmodules; add it, {SWITCH_OFF}",
            readable(place)
        ))
    })
}

/// Reads a commit's `.gitmodules`, if there is one.
async fn declarations(parent: &Parent) -> Result<Gitmodules, SourceError> {
    let checkout = parent.checkout.clone();
    let result = tokio::task::spawn_blocking(move || read_declarations(&checkout))
        .await
        .map_err(SourceError::mirror)?;
    result.map_err(|error| match (error, parent.path.is_empty()) {
        (ObjectError::Unacceptable(text), false) => {
            SourceError::Invalid(format!("submodule `{}`: {text}", readable(&parent.path)))
        }
        (error, _) => error.into(),
    })
}

fn read_declarations(checkout: &Checkout) -> Result<Gitmodules, ObjectError> {
    let unacceptable = |text: String| Err(ObjectError::Unacceptable(text));
    let repository = checkout.composite().open()?;
    let trees = checkout.composite().trees(&repository)?;
    let Some(item) = trees.at_path(checkout.tree(), b".gitmodules")? else {
        return Ok(Gitmodules::default());
    };
    if matches!(item.mode, MODE_DIRECTORY | MODE_SUBMODULE | MODE_SYMLINK) {
        return unacceptable(".gitmodules is not a regular file".to_owned());
    }
    match trees.odb.read_header(item.oid)? {
        (size, ObjectType::Blob) if size <= gitmodules::MAX_BYTES => {}
        (_, ObjectType::Blob) => {
            return unacceptable(format!(
                ".gitmodules is larger than {} MiB",
                gitmodules::MAX_BYTES >> 20
            ));
        }
        (_, kind) => return unacceptable(format!(".gitmodules is a {kind}")),
    }
    let content = trees.odb.read(item.oid)?;
    Gitmodules::parse(content.data()).or_else(|bad| unacceptable(bad.to_string()))
}

fn readable(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}

/// One line for each submodule is enough, and that is written here.
struct Silent;

impl Progress for Silent {
    fn write(&self, _: &[u8]) {}

    fn steps(&self, _: Vec<Step>) {}
}
