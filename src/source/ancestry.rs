//! Where two branches parted, in a history of which perhaps only the newest commits are there.

use std::collections::{BinaryHeap, HashMap};

use git2::{Oid, Repository};

use super::SourceError;
use super::limits::Limits;

/// Commits that are looked at.
const MOST_COMMITS: usize = 50_000;

/// A commit that both lead to, a newest one by the commits' own times; `None` if none is there.
///
/// libgit2's own search fails where a history is cut off. One that is older than the best is as good here: more was changed
/// since.
pub(super) fn parted(
    repository: &Repository,
    one: Oid,
    other: Oid,
    limits: &Limits,
) -> Result<Option<Oid>, SourceError> {
    const BOTH: u8 = 3;
    let mut seen: HashMap<Oid, u8> = HashMap::new();
    let mut waiting = BinaryHeap::new();
    for (oid, side) in [(one, 1), (other, 2)] {
        let time = repository.find_commit(oid)?.time().seconds();
        *seen.entry(oid).or_default() |= side;
        waiting.push((time, oid));
    }
    while let Some((_, oid)) = waiting.pop() {
        limits.check()?;
        let sides = seen.get(&oid).copied().unwrap_or_default();
        if sides == BOTH {
            return Ok(Some(oid));
        }
        if seen.len() > MOST_COMMITS {
            break;
        }
        for parent in repository.find_commit(oid)?.parent_ids() {
            let known = seen.entry(parent).or_default();
            if *known | sides != *known {
                *known |= sides;
                // What is cut off is not there.
                if let Ok(commit) = repository.find_commit(parent) {
                    waiting.push((commit.time().seconds(), parent));
                }
            }
        }
    }
    Ok(None)
}
