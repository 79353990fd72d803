//! Finds and reads single files of a context, above all the Dockerfile, as the builder will resolve them.
//!
//! Whatever cannot be resolved here is refused here: the builder must never read a Dockerfile that we have not seen,
//! for then nobody would have checked its frontend.

use std::{collections::HashMap, ops::ControlFlow};

use super::error::EngineError;
use crate::domain::context::{BuildContext, ContextPart, Entry, EntryKind, Selection};

/// Longest Dockerfile, in bytes; hand-written ones stay below a hundredth of this.
const MAX_DOCKERFILE: u64 = 1 << 20;

/// Longest `.dockerignore`, in bytes.
const MAX_IGNORE_FILE: u64 = 1 << 20;

/// As many links as the kernel follows before it calls them a circle.
const MAX_LINKS: usize = 40;

/// Most entries looked at on the way to one file.
const MAX_ENTRIES: usize = 1000;

/// A Dockerfile that was found.
pub(super) struct Dockerfile {
    /// Names its content; the same for the same content.
    pub(super) object: [u8; 20],
    /// Where it is in its tree, links followed.
    pub(super) path: Vec<u8>,
    pub(super) content: Vec<u8>,
    /// Whether it is another one than the repository's.
    pub(super) rewritten: bool,
}

/// Reads the Dockerfile. Blocks.
pub(super) fn read(context: &dyn BuildContext) -> Result<Dockerfile, EngineError> {
    let path = context.dockerfile();
    let refuse = |reason: &str| EngineError::Dockerfile(format!("the Dockerfile `{path}` {reason}"));
    let entry = find(context, ContextPart::Dockerfile, path)?
        .ok_or_else(|| refuse("is not in the repository at this commit"))?;
    match entry.kind {
        EntryKind::File { size, .. } if size > MAX_DOCKERFILE => Err(refuse("is longer than 1 MiB")),
        EntryKind::File { .. } => {
            let content = context.read(&entry.object)?;
            if content.iter().all(u8::is_ascii_whitespace) {
                return Err(refuse("is empty"));
            }
            Ok(Dockerfile {
                object: entry.object,
                path: entry.path,
                content,
                rewritten: false,
            })
        }
        EntryKind::Directory | EntryKind::Symlink { .. } => Err(refuse("is not a file")),
    }
}

/// Reads the patterns of the `.dockerignore` at the context's root, cleaned as Docker cleans them. Blocks.
pub(super) fn ignore_patterns(context: &dyn BuildContext) -> Result<Vec<String>, EngineError> {
    let Some(entry) = find(context, ContextPart::Context, ".dockerignore")? else {
        return Ok(Vec::new());
    };
    match entry.kind {
        EntryKind::File { size, .. } if size > MAX_IGNORE_FILE => Err(EngineError::Dockerfile(
            "the file `.dockerignore` is longer than 1 MiB".to_owned(),
        )),
        EntryKind::File { .. } => Ok(parse_patterns(&context.read(&entry.object)?)),
        EntryKind::Directory | EntryKind::Symlink { .. } => Ok(Vec::new()),
    }
}

/// Splits a `.dockerignore` into patterns: without comments and blank lines, paths cleaned, a leading slash removed.
pub(super) fn parse_patterns(content: &[u8]) -> Vec<String> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    String::from_utf8_lossy(content)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| match line.strip_prefix('!') {
            Some(pattern) => format!("!{}", clean(pattern.trim())),
            None => clean(line),
        })
        .collect()
}

/// Go's `filepath.Clean`, then a path relative to the root: `/a/./b/../c/` is `a/c`.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if pattern.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    }
}

/// Finds what a path leads to through links inside the tree. A link that leaves the tree is an error.
pub(super) fn find(context: &dyn BuildContext, part: ContextPart, path: &str) -> Result<Option<Entry>, EngineError> {
    let selection = Selection {
        follow: vec![path.to_owned()],
        ..Selection::default()
    };
    let mut entries: HashMap<Vec<u8>, Entry> = HashMap::new();
    context.walk(part, &selection, &mut |entry| {
        entries.insert(entry.path.clone(), entry);
        if entries.len() < MAX_ENTRIES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    resolve(&entries, path)
}

fn resolve(entries: &HashMap<Vec<u8>, Entry>, path: &str) -> Result<Option<Entry>, EngineError> {
    let outside = || EngineError::Dockerfile(format!("`{path}` is a link that leaves the repository"));
    let mut todo: Vec<Vec<u8>> = path.as_bytes().rsplit(|&c| c == b'/').map(<[u8]>::to_vec).collect();
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    let mut found = None;
    while let Some(name) = todo.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                done.pop().ok_or_else(outside)?;
                continue;
            }
            _ => done.push(name),
        }
        let Some(entry) = entries.get(&done.join(&b'/')) else {
            return Ok(None);
        };
        if let EntryKind::Symlink { target } = &entry.kind {
            links += 1;
            if links > MAX_LINKS {
                return Err(EngineError::Dockerfile(format!(
                    "`{path}` is a link that leads in a circle"
                )));
            }
            if target.starts_with(b"/") {
                return Err(outside());
            }
            done.pop();
            todo.extend(target.rsplit(|&c| c == b'/').map(<[u8]>::to_vec));
        }
        found = Some(entry.clone());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, Option<&str>)]) -> HashMap<Vec<u8>, Entry> {
        list.iter()
            .map(|(path, link)| {
                let kind = match link {
                    Some(target) => EntryKind::Symlink {
                        target: target.as_bytes().to_vec(),
                    },
                    None => EntryKind::File {
                        size: 1,
                        executable: false,
                    },
                };
                let path = path.as_bytes().to_vec();
                (
                    path.clone(),
                    Entry {
                        path,
                        kind,
                        object: [0; 20],
                    },
                )
            })
            .collect()
    }

    #[test]
    fn links_are_followed_inside_the_tree_and_nowhere_else() {
        let tree = entries(&[
            ("d", None),
            ("d/real", None),
            ("d/link", Some("../d/./real")),
            ("Dockerfile", Some("d/link")),
            ("up", Some("../secret")),
            ("absolute", Some("/etc/passwd")),
            ("dangling", Some("nowhere")),
            ("circle", Some("circle")),
        ]);
        let found = |path: &str| resolve(&tree, path).map(|entry| entry.map(|e| String::from_utf8(e.path).unwrap()));
        assert_eq!(found("Dockerfile"), Ok(Some("d/real".to_owned())));
        assert_eq!(found("dangling"), Ok(None));
        for bad in ["up", "absolute", "circle"] {
            assert!(matches!(found(bad), Err(EngineError::Dockerfile(_))), "{bad}");
        }
    }

    #[test]
    fn ignore_files_are_read_as_docker_reads_them() {
        let patterns =
            parse_patterns(b"\xef\xbb\xbf# comment\n\n /a/b/ \n!/c\r\n./d/../e\n # not a comment\n!  f\n/\n");
        assert_eq!(patterns, ["a/b", "!c", "e", "# not a comment", "!f", "."]);
    }
}
