//! A dry run: what would be built again if an image moved, in which order. Nothing is started.

use std::collections::BTreeSet;

use super::{familiar, full_name, sight::Seen};
use crate::{
    domain::{base_graph::Moved, ids::BuildId, repository::RepositoryName, rule::SourceType},
    store::WatchKey,
    web::{Web, auth::Caller, problem::Problem},
};

/// A version that nobody was built on.
const NEW_VERSION: &str = "a new version";

/// What would follow from an image's move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// Fully named.
    pub image: String,
    pub familiar: String,
    /// In the order of building.
    pub items: Vec<DryRunItem>,
}

/// One ref of a rule that would be built again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRunItem {
    pub repository: RepositoryName,
    /// The build that would be built again.
    pub build: BuildId,
    pub source_type: SourceType,
    pub source_name: String,
    /// The images that it holds, fully named with their tags.
    pub makes: Vec<String>,
    /// How many builds lie between it and the image; 0: it stands on that itself.
    pub depth: usize,
    /// The items, by their place in [`DryRun::items`], that would be built before it.
    pub after: Vec<usize>,
    /// It stands in a circle, and would not be built for what came back to it through this image.
    pub cut: Option<String>,
}

/// What would be built again if the image of this full or familiar name moved, among what the caller may see; 404 for what
/// is no image name.
pub async fn consequences(web: &Web, caller: &Caller, name: &str) -> Result<DryRun, Problem> {
    let image = full_name(name).ok_or_else(|| Problem::not_found("base image"))?;
    let seen = Seen::by(web, caller).await?;
    let targets = seen.graph.targets();
    let standing = seen.graph.standing_on(&image).iter();
    let bases = standing.filter_map(|&target| targets[target].base(&image));
    let accesses: BTreeSet<&str> = bases
        .map(|base| base.access.as_str())
        .filter(|access| {
            let (image, access) = (image.clone(), (*access).to_owned());
            seen.shows(caller, &WatchKey { image, access })
        })
        .collect();
    let moved: Vec<Moved<'_>> = accesses
        .into_iter()
        .map(|access| Moved {
            image: &image,
            access,
            to: NEW_VERSION,
        })
        .collect();
    let items = seen.graph.consequences(&moved).items;
    let items = items
        .into_iter()
        .map(|item| {
            let target = &targets[item.target];
            DryRunItem {
                repository: target.name.clone(),
                build: target.build.clone(),
                source_type: target.source_type,
                source_name: target.source_name.clone(),
                makes: target.makes.clone(),
                depth: item.depth,
                after: item.after,
                cut: item.cut,
            }
        })
        .collect();
    Ok(DryRun {
        familiar: familiar(&image),
        image,
        items,
    })
}
