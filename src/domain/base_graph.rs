//! The graph of repositories that stand on each other's images: who has to be rebuilt when an image moves, in which order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use chrono::{DateTime, Utc};

use super::{
    ids::{BuildId, RepositoryId, RuleId},
    repository::RepositoryName,
    rule::SourceType,
};

/// Something that can be rebuilt: a ref of a rule, as the build made it that holds its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub build: BuildId,
    pub repository: RepositoryId,
    pub name: RepositoryName,
    pub rule: RuleId,
    pub source_type: SourceType,
    pub source_name: String,
    /// The images that it holds, fully named with their tags.
    pub makes: Vec<String>,
    /// When its build started.
    pub started_at: DateTime<Utc>,
    /// The images whose moves it follows.
    pub stands_on: Vec<Base>,
}

impl Target {
    /// What can be told apart of it for good: the builds change, these do not.
    pub fn place(&self) -> (&RepositoryId, &RuleId, SourceType, &str) {
        (&self.repository, &self.rule, self.source_type, &self.source_name)
    }

    pub fn base(&self, image: &str) -> Option<&Base> {
        self.stands_on.iter().find(|base| base.image == image)
    }
}

/// An image that a target stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Fully named, with its tag.
    pub image: String,
    /// What the target's build used; `None`: it is not known, as for an image that was linked by hand alone.
    pub digest: Option<String>,
    /// Linked by a person; else the build told of it.
    pub by_hand: bool,
    /// Whose credentials it is watched with: of this namespace, which has its own for the registry; empty: the server's.
    pub access: String,
}

/// An image whose tag stands for something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved<'a> {
    pub image: &'a str,
    /// By whose credentials it was seen; only those who stand on it by the same follow.
    pub access: &'a str,
    pub to: &'a str,
}

impl Moved<'_> {
    fn concerns(&self, target: &Target) -> bool {
        target
            .base(self.image)
            .is_some_and(|base| base.access == self.access && base.digest.as_deref() != Some(self.to))
    }
}

/// What follows from a move, in the order of building.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consequences {
    pub items: Vec<Consequence>,
}

/// One target that is to be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consequence {
    /// Its place in [`Graph::targets`].
    pub target: usize,
    /// The items, by their place in [`Consequences::items`], that are built before it because it stands on their images.
    pub after: Vec<usize>,
    /// How many builds lie between it and what moved; 0: it stands on that itself.
    pub depth: usize,
    /// It stands in a circle, and is not rebuilt for what came back to it through this image.
    pub cut: Option<String>,
}

/// All targets and what they stand on.
#[derive(Debug, Default)]
pub struct Graph {
    targets: Vec<Target>,
    maker: HashMap<String, usize>,
    standing: HashMap<String, Vec<usize>>,
}

impl Graph {
    pub fn new(targets: Vec<Target>) -> Self {
        let mut maker = HashMap::new();
        let mut standing: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, target) in targets.iter().enumerate() {
            for image in &target.makes {
                maker.insert(image.clone(), index);
            }
            for base in &target.stands_on {
                standing.entry(base.image.clone()).or_default().push(index);
            }
        }
        Self {
            targets,
            maker,
            standing,
        }
    }

    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The target that holds an image.
    pub fn maker(&self, image: &str) -> Option<&Target> {
        self.maker.get(image).map(|&index| &self.targets[index])
    }

    /// Every image that is made or stood on, in order.
    pub fn images(&self) -> BTreeSet<&str> {
        let made = self.maker.keys();
        made.chain(self.standing.keys()).map(String::as_str).collect()
    }

    /// The targets that stand on an image themselves, by their place in [`Self::targets`].
    pub fn standing_on(&self, image: &str) -> &[usize] {
        self.standing.get(image).map_or(&[], Vec::as_slice)
    }

    /// Everything that is to be rebuilt when these images move, each once, after everything that it stands on. Who was built
    /// on the new version already is not built again.
    ///
    /// A circle is cut where it comes back: whoever made what moved is not rebuilt for it, and of others in a circle the
    /// one nearest to the move is built first.
    pub fn consequences(&self, moved: &[Moved<'_>]) -> Consequences {
        let depths = self.reached(moved);
        let mut waits = self.waits(&depths);
        let mut order: Vec<(usize, Option<String>)> = Vec::with_capacity(depths.len());
        let mut done = HashSet::new();
        let mut left: BTreeSet<(usize, usize)> = depths.iter().map(|(&target, &depth)| (depth, target)).collect();
        let makers: HashSet<usize> = moved
            .iter()
            .filter_map(|moved| self.maker.get(moved.image).copied())
            .collect();
        while !left.is_empty() {
            let ready = left.iter().copied().find(|(_, target)| {
                waits
                    .get(target)
                    .is_none_or(|waits| waits.keys().all(|w| done.contains(w)))
            });
            // Nobody is ready: what is left waits in a circle. The first of those nearest to the move goes first.
            let next = ready.or_else(|| left.first().copied());
            let Some((depth, target)) = next else { break };
            left.remove(&(depth, target));
            if ready.is_none()
                && let Some(waits) = waits.get_mut(&target)
            {
                waits.retain(|w, _| done.contains(w));
            }
            // Whoever made what moved was reached only because a circle led back to it.
            let cut = makers
                .contains(&target)
                .then(|| self.way_back(target, &depths, moved))
                .flatten();
            done.insert(target);
            order.push((target, cut));
        }
        let place: HashMap<usize, usize> = order
            .iter()
            .enumerate()
            .map(|(place, (target, _))| (*target, place))
            .collect();
        let items = order
            .into_iter()
            .map(|(target, cut)| {
                let waits = waits.get(&target).into_iter().flat_map(BTreeMap::keys);
                let mut after: Vec<usize> = waits.filter_map(|w| place.get(w).copied()).collect();
                after.sort_unstable();
                Consequence {
                    target,
                    after,
                    depth: depths[&target],
                    cut,
                }
            })
            .collect();
        Consequences { items }
    }

    /// How far from the move everything is that it reaches.
    fn reached(&self, moved: &[Moved<'_>]) -> BTreeMap<usize, usize> {
        let mut depths = BTreeMap::new();
        let mut next = VecDeque::new();
        for moved in moved {
            for &target in self.standing_on(moved.image) {
                if moved.concerns(&self.targets[target]) && depths.insert(target, 0).is_none() {
                    next.push_back((target, 0));
                }
            }
        }
        while let Some((parent, depth)) = next.pop_front() {
            for &target in self.targets[parent]
                .makes
                .iter()
                .flat_map(|image| self.standing_on(image))
            {
                if target != parent && !depths.contains_key(&target) {
                    depths.insert(target, depth + 1);
                    next.push_back((target, depth + 1));
                }
            }
        }
        depths
    }

    /// Which of the reached each of them waits for, and through which image.
    fn waits(&self, depths: &BTreeMap<usize, usize>) -> HashMap<usize, BTreeMap<usize, String>> {
        let mut waits: HashMap<usize, BTreeMap<usize, String>> = HashMap::new();
        for &target in depths.keys() {
            for base in &self.targets[target].stands_on {
                let Some(&maker) = self.maker.get(&base.image) else {
                    continue;
                };
                if maker != target && depths.contains_key(&maker) {
                    waits.entry(target).or_default().insert(maker, base.image.clone());
                }
            }
        }
        waits
    }

    /// The image through which a move came back to the target that made what moved.
    fn way_back(&self, target: usize, depths: &BTreeMap<usize, usize>, moved: &[Moved<'_>]) -> Option<String> {
        let bases = self.targets[target].stands_on.iter();
        bases
            .map(|base| base.image.as_str())
            .find(|image| {
                moved.iter().any(|moved| moved.image == *image)
                    || self.maker.get(*image).is_some_and(|maker| depths.contains_key(maker))
            })
            .map(str::to_owned)
    }
}
