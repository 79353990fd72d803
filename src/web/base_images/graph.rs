//! Who stands on whom, as nodes and edges for a picture.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{familiar, full_name, sight::Seen, standing::Comparison};
use crate::{
    domain::{repository::RepositoryName, rule::SourceType},
    store::{WatchKey, WatchedImage},
    web::{Web, auth::Caller, problem::Problem},
};

/// The graph as it is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picture {
    pub nodes: Vec<GraphNode>,
    pub edges: Vec<GraphEdge>,
}

/// An image, or several that one build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphNode {
    /// Fully named with their tags; of an image that is not ours there is one.
    pub images: Vec<String>,
    /// The first of them, as short as people write it.
    pub familiar: String,
    /// Whose builds make it, where that is one of ours.
    pub repository: Option<RepositoryName>,
    /// The ref that it is built from, where it is one of ours.
    pub source: Option<(SourceType, String)>,
    /// It stands on an old version of something.
    pub outdated: bool,
    /// The registry says that there is no such image any more.
    pub gone: bool,
}

/// One node stands on another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphEdge {
    /// The place in [`Picture::nodes`] of what is stood on.
    pub base: usize,
    /// The place of what stands on it.
    pub standing: usize,
    /// Linked by a person; else a build told of it.
    pub by_hand: bool,
    /// What stands there was built on an old version.
    pub outdated: bool,
}

/// Everything that stands on something or is stood on, as far as the caller may see it. `base`: only the image of this full
/// or familiar name with what stands on it, however far.
pub async fn graph(web: &Web, caller: &Caller, base: Option<&str>) -> Result<Picture, Problem> {
    let seen = Seen::by(web, caller).await?;
    let all = web.store.watched_images().await?;
    let watched: HashMap<&WatchKey, &WatchedImage> = all.iter().map(|watched| (&watched.key, watched)).collect();
    let mut comparison = Comparison::new(web);
    let mut picture = Picture::default();
    let mut by_image: BTreeMap<String, usize> = BTreeMap::new();
    for target in seen.graph.targets() {
        let place = picture.nodes.len();
        by_image.extend(target.makes.iter().map(|image| (image.clone(), place)));
        picture.nodes.push(GraphNode {
            images: target.makes.clone(),
            familiar: target.makes.first().map_or_else(String::new, |image| familiar(image)),
            repository: Some(target.name.clone()),
            source: Some((target.source_type, target.source_name.clone())),
            outdated: false,
            gone: false,
        });
    }
    for (standing, target) in seen.graph.targets().iter().enumerate() {
        let first_edge = picture.edges.len();
        for base in &target.stands_on {
            let key = WatchKey {
                image: base.image.clone(),
                access: base.access.clone(),
            };
            let watched = watched.get(&key).filter(|_| seen.shows(caller, &key));
            let place = *by_image.entry(base.image.clone()).or_insert_with(|| {
                picture.nodes.push(GraphNode {
                    images: vec![base.image.clone()],
                    familiar: familiar(&base.image),
                    repository: None,
                    source: None,
                    outdated: false,
                    gone: false,
                });
                picture.nodes.len() - 1
            });
            let outdated = match watched.filter(|_| place != standing) {
                Some(watched) => {
                    let built = (&target.build, target.started_at);
                    comparison.of(watched, base.digest.as_deref(), built).await?.outdated
                }
                None => false,
            };
            picture.nodes[standing].outdated |= outdated;
            picture.nodes[place].gone |= watched.is_some_and(|watched| watched.gone_since.is_some());
            // Of several tags that one build made, one edge tells.
            let mut its_edges = picture.edges[first_edge..].iter_mut();
            match its_edges.find(|edge| edge.base == place) {
                Some(edge) => {
                    edge.outdated |= outdated;
                    edge.by_hand &= base.by_hand;
                }
                None => picture.edges.push(GraphEdge {
                    base: place,
                    standing,
                    by_hand: base.by_hand,
                    outdated,
                }),
            }
        }
    }
    let kept = match base {
        None => picture
            .edges
            .iter()
            .flat_map(|edge| [edge.base, edge.standing])
            .collect(),
        Some(base) => match full_name(base).and_then(|base| by_image.get(&base).copied()) {
            Some(start) => reached(start, &picture.edges),
            None => BTreeSet::new(),
        },
    };
    Ok(picture.only(&kept))
}

/// A node with everything that stands on it, however far.
fn reached(start: usize, edges: &[GraphEdge]) -> BTreeSet<usize> {
    let mut standing: HashMap<usize, Vec<usize>> = HashMap::new();
    for edge in edges {
        standing.entry(edge.base).or_default().push(edge.standing);
    }
    let mut found = BTreeSet::from([start]);
    let mut next = VecDeque::from([start]);
    while let Some(at) = next.pop_front() {
        for &node in standing.get(&at).into_iter().flatten() {
            if found.insert(node) {
                next.push_back(node);
            }
        }
    }
    found
}

impl Picture {
    /// The same with these nodes and the edges between them alone.
    fn only(self, kept: &BTreeSet<usize>) -> Self {
        let place: HashMap<usize, usize> = kept.iter().enumerate().map(|(place, &node)| (node, place)).collect();
        let nodes = self.nodes.into_iter().enumerate();
        let edges = self.edges.into_iter();
        Self {
            nodes: nodes
                .filter(|(node, _)| kept.contains(node))
                .map(|(_, node)| node)
                .collect(),
            edges: edges
                .filter_map(|edge| {
                    Some(GraphEdge {
                        base: *place.get(&edge.base)?,
                        standing: *place.get(&edge.standing)?,
                        ..edge
                    })
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(base: usize, standing: usize) -> GraphEdge {
        GraphEdge {
            base,
            standing,
            by_hand: false,
            outdated: false,
        }
    }

    #[test]
    fn a_base_is_kept_with_all_that_stands_on_it_even_in_a_circle() {
        let edges = [edge(0, 1), edge(1, 2), edge(2, 1), edge(3, 2), edge(4, 5)];
        assert_eq!(reached(0, &edges), BTreeSet::from([0, 1, 2]));
    }
}
