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
        self.consequences_for(moved, |_, _| true)
    }

    /// The same, where of those that stand on what moved themselves only these `follow`.
    pub fn consequences_for(&self, moved: &[Moved<'_>], follows: impl Fn(&Moved<'_>, &Target) -> bool) -> Consequences {
        let depths = self.reached(moved, follows);
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
    fn reached(&self, moved: &[Moved<'_>], follows: impl Fn(&Moved<'_>, &Target) -> bool) -> BTreeMap<usize, usize> {
        let mut depths = BTreeMap::new();
        let mut next = VecDeque::new();
        for moved in moved {
            for &target in self.standing_on(moved.image) {
                let is_first = moved.concerns(&self.targets[target]) && follows(moved, &self.targets[target]);
                if is_first && depths.insert(target, 0).is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `b: a x` is a target that makes `b` and stands on `a` and `x`, all used as `old`.
    fn graph(lines: &[&str]) -> Graph {
        let target = |line: &&str| {
            let (makes, stands_on) = line.split_once(": ").unwrap();
            let base = |image: &str| Base {
                image: image.to_owned(),
                digest: Some("old".to_owned()),
                by_hand: false,
                access: String::new(),
            };
            Target {
                build: BuildId::from(makes),
                repository: RepositoryId::from(makes),
                name: RepositoryName::new("team", makes).unwrap(),
                rule: RuleId::from("rule"),
                source_type: SourceType::Branch,
                source_name: "main".to_owned(),
                makes: vec![makes.to_owned()],
                started_at: DateTime::UNIX_EPOCH,
                stands_on: stands_on.split_whitespace().map(base).collect(),
            }
        };
        Graph::new(lines.iter().map(target).collect())
    }

    fn moved(image: &str) -> Moved<'_> {
        Moved {
            image,
            access: "",
            to: "new",
        }
    }

    /// What follows, in order: `c<a,b` is built after `a` and `b`; `c!` is cut.
    fn follows(graph: &Graph, images: &[&str]) -> String {
        let moves: Vec<Moved<'_>> = images.iter().map(|image| moved(image)).collect();
        let found = graph.consequences(&moves).items;
        let name = |item: &Consequence| graph.targets()[item.target].makes[0].clone();
        let words = found.iter().map(|item| {
            let before: Vec<String> = item.after.iter().map(|&before| name(&found[before])).collect();
            let before = if before.is_empty() {
                String::new()
            } else {
                format!("<{}", before.join(","))
            };
            format!("{}{before}{}", name(item), if item.cut.is_some() { "!" } else { "" })
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_follows_is_in_the_order_of_building() {
        let check = |lines: &[&str], images: &[&str], expected: &str| {
            assert_eq!(follows(&graph(lines), images), expected, "{lines:?} {images:?}");
        };
        // A chain, told in any order.
        check(&["d: c", "c: b", "b: a"], &["a"], "b c<b d<c");
        check(&["d: c", "c: b", "b: a"], &["c"], "d");
        check(&["d: c", "c: b", "b: a"], &["elsewhere"], "");
        // A diamond's last is built once, after both sides.
        check(&["b: a", "c: a", "d: b c"], &["a"], "b c d<b,c");
        // It stands on the first itself too, and still comes last.
        check(&["d: a b c", "b: a", "c: a"], &["a"], "b c d<b,c");
        // Who stands on two that move is built once.
        check(&["c: a b"], &["a", "b"], "c");
        // Another's chain is left alone.
        check(&["b: a", "y: x"], &["a"], "b");
    }

    #[test]
    fn circles_are_cut() {
        // Two that stand on each other: whoever moved is not built for what came back.
        assert_eq!(follows(&graph(&["a: b", "b: a"]), &["a"]), "b a<b!");
        // A circle that the move enters from outside is built around once.
        assert_eq!(follows(&graph(&["b: a d", "c: b", "d: c"]), &["a"]), "b c<b d<c");
        // An image on itself is not built for its own push.
        assert_eq!(follows(&graph(&["a: a"]), &["a"]), "a!");
    }

    #[test]
    fn who_was_built_on_the_new_version_or_sees_it_by_other_credentials_does_not_follow() {
        let graph = graph(&["b: a"]);
        let follow = |moved: Moved<'_>| graph.consequences(&[moved]).items.len();
        assert_eq!(follow(moved("a")), 1);
        assert_eq!(
            follow(Moved {
                to: "old",
                ..moved("a")
            }),
            0
        );
        assert_eq!(
            follow(Moved {
                access: "team",
                ..moved("a")
            }),
            0
        );
    }

    #[test]
    fn ten_thousand_in_a_row_are_put_in_order() {
        let lines: Vec<String> = (1..10_000).map(|n| format!("i{n}: i{}", n - 1)).collect();
        let lines: Vec<&str> = lines.iter().rev().map(String::as_str).collect();
        let found = graph(&lines).consequences(&[moved("i0")]).items;
        assert_eq!(found.len(), 9_999);
        assert!(found.iter().enumerate().all(|(place, item)| item.depth == place));
    }
}
