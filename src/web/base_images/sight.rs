//! The part of the graph that a caller may see.

use std::collections::HashSet;

use crate::{
    domain::{access::Role, base_graph::Graph, ids::RepositoryId},
    store::{Sight, WatchKey},
    web::{Web, auth::Caller, problem::Problem},
};

/// What of the graph there is for a caller.
pub(super) struct Seen {
    /// Of the repositories that the caller may see, as if there were no others.
    pub graph: Graph,
    /// Whether that is everything there is.
    pub is_everything: bool,
}

impl Seen {
    pub async fn by(web: &Web, caller: &Caller) -> Result<Self, Problem> {
        Self::with(web, &caller.sight()).await
    }

    pub async fn with(web: &Web, sight: &Sight) -> Result<Self, Problem> {
        let whole = web.store.base_graph().await?;
        if *sight == Sight::Everything {
            return Ok(Self {
                graph: whole,
                is_everything: true,
            });
        }
        let readable: HashSet<RepositoryId> = web.store.readable_repositories(sight).await?.into_iter().collect();
        let targets = whole.targets().iter();
        let visible = targets.filter(|target| readable.contains(&target.repository));
        Ok(Self {
            graph: Graph::new(visible.cloned().collect()),
            is_everything: false,
        })
    }

    /// Whether the caller may know what an image stands for: something that they may see stands on it, and the credentials
    /// that it is looked at with are not a namespace's that they may not read.
    pub fn shows(&self, caller: &Caller, key: &WatchKey) -> bool {
        if !may_see_access(caller, &key.access) {
            return false;
        }
        let targets = self.graph.targets();
        let standing = self.graph.standing_on(&key.image).iter();
        standing
            .filter_map(|&target| targets[target].base(&key.image))
            .any(|base| base.access == key.access)
    }
}

/// Whether the caller may know what is seen with these credentials: empty are the server's.
pub(super) fn may_see_access(caller: &Caller, access: &str) -> bool {
    access.is_empty() || caller.sight() == Sight::Everything || caller.has_role(access, Role::Read)
}
