//! What the pushes of all forges have in common.

use std::borrow::Cow;

use serde::Deserialize;

use super::Rejection;
use crate::domain::{
    event::{ChangeKind, EventKind, PushEvent, PushedRepository, RefChange, is_object_name},
    rule::{SourceType, is_valid_ref_name},
};

/// A commit as GitHub tells of it, and those that speak its language.
#[derive(Deserialize)]
pub struct HeadCommit<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub message: Cow<'a, str>,
}

/// A change of one ref, its name and commit checked.
pub fn change(source_type: SourceType, name: &str, kind: ChangeKind) -> Result<RefChange, Rejection> {
    if !is_valid_ref_name(name) {
        return Err(Rejection::malformed(format!(
            "{name:?} is not a ref name that git accepts"
        )));
    }
    if let ChangeKind::Updated { commit, .. } = &kind
        && !is_object_name(commit)
    {
        return Err(Rejection::malformed(format!(
            "{commit:?}, to which `{name}` was moved, is not the full name of a commit"
        )));
    }
    Ok(RefChange {
        source_type,
        name: name.to_owned(),
        kind,
    })
}

/// What a ref moved to. For an annotated tag `after` is the tag object, and the head commit what it points to.
pub fn updated(
    source_type: SourceType,
    before: Option<&str>,
    after: Cow<'_, str>,
    head_commit: Option<HeadCommit<'_>>,
) -> ChangeKind {
    let (head, message) = match head_commit {
        Some(HeadCommit { id, message }) => (Some(id), Some(message.into_owned())),
        None => (None, None),
    };
    let commit = match (source_type, head) {
        (SourceType::Tag, Some(head)) => head,
        _ => after,
    };
    ChangeKind::Updated {
        commit: commit.into_owned(),
        message,
        before: self::before(before),
    }
}

/// Whether an object name is the one that stands for "nothing", on either side of a change.
pub fn is_zero(object_name: &str) -> bool {
    !object_name.is_empty() && object_name.bytes().all(|c| c == b'0')
}

/// What a ref pointed to before, as the payload has it; of one that is new it has zeros. Whatever else is no object name
/// is as good as nothing: it is only ever compared with.
pub fn before(object_name: Option<&str>) -> Option<String> {
    object_name.filter(|name| is_object_name(name)).map(str::to_owned)
}

/// The push, or, if it changed neither branch nor tag, why there is nothing to do. `skipped` are the refs left out.
pub fn event(repository: PushedRepository, changes: Vec<RefChange>, skipped: &[&str]) -> EventKind {
    match (changes.is_empty(), skipped) {
        (false, _) => EventKind::Push(PushEvent { repository, changes }),
        (true, []) => EventKind::Ignored("the push changed no ref".to_owned()),
        (true, [first, ..]) => {
            let name: String = first.chars().take(100).collect();
            EventKind::Ignored(format!("{name:?} is neither a branch nor a tag"))
        }
    }
}
