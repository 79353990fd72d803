//! Images that stand on each other in a circle: found before a change is saved that would make one.

use std::collections::{HashMap, HashSet, VecDeque};

/// Something that makes images: a rule, as far as its tags are known before it builds, or a ref of it that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maker {
    /// Tells it apart, and stays the same as long as it is the same.
    pub place: String,
    /// Images that it makes, fully named with their tags.
    pub makes: Vec<String>,
    /// It may make any tag of this image.
    pub makes_any_of: Option<String>,
    /// Images that it stands on, fully named with their tags.
    pub stands_on: Vec<String>,
    /// Whether it is fine to stand on an image of its own: what is linked to a repository is meant for others of its rules,
    /// and what a build stood on was there before it.
    pub may_stand_on_itself: bool,
}

/// Images that would stand on each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle {
    /// In order, the first one last again.
    pub images: Vec<String>,
    /// Who would stand, by its place among the makers, on which image: the step by which the circle is new.
    pub by: (usize, String),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Edge {
    from: usize,
    to: usize,
    via: String,
}

/// A circle in `after` that is not in `before`. `preferred`: by whose steps it is told, if there are several.
pub fn new_circle(before: &[Maker], after: &[Maker], preferred: impl Fn(&Maker) -> bool) -> Option<Circle> {
    let known: HashSet<(&str, &str, String)> = edges(before)
        .into_iter()
        .map(|edge| {
            let place = |maker: usize| before[maker].place.as_str();
            (place(edge.from), place(edge.to), edge.via)
        })
        .collect();
    let edges = edges(after);
    let component = components(after.len(), &edges);
    let is_new = |edge: &&Edge| {
        let place = |maker: usize| after[maker].place.as_str();
        component[edge.from] == component[edge.to]
            && !known.contains(&(place(edge.from), place(edge.to), edge.via.clone()))
    };
    let found = edges.iter().filter(is_new);
    let edge = found.max_by_key(|edge| preferred(&after[edge.from]))?;
    let mut images = vec![edge.via.clone()];
    images.extend(path(edge.to, edge.from, &edges));
    images.push(edge.via.clone());
    Some(Circle {
        images,
        by: (edge.from, edge.via.clone()),
    })
}

/// Who stands on whom. An image is made by whoever makes exactly it, or else by whoever may make any tag of its name.
fn edges(makers: &[Maker]) -> Vec<Edge> {
    let mut exact: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut any: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, maker) in makers.iter().enumerate() {
        for image in &maker.makes {
            exact.entry(image).or_default().push(index);
        }
        if let Some(name) = &maker.makes_any_of {
            any.entry(name).or_default().push(index);
        }
    }
    let by_name = |image: &str| {
        let (name, _) = image.rsplit_once(':')?;
        any.get(name)
    };
    let mut edges = Vec::new();
    for (from, maker) in makers.iter().enumerate() {
        for image in &maker.stands_on {
            let exactly = exact.get(image.as_str());
            for &to in exactly.or_else(|| by_name(image)).into_iter().flatten() {
                let is_own = makers[to].place == maker.place && exactly.is_some();
                if !(is_own && maker.may_stand_on_itself) {
                    let via = image.clone();
                    edges.push(Edge { from, to, via });
                }
            }
        }
    }
    edges
}

/// For every maker, a number that those share that reach each other (Kosaraju's algorithm). Who is in no circle has its own.
fn components(makers: usize, edges: &[Edge]) -> Vec<usize> {
    let (mut forth, mut back) = (vec![Vec::new(); makers], vec![Vec::new(); makers]);
    for edge in edges {
        forth[edge.from].push(edge.to);
        back[edge.to].push(edge.from);
    }
    let mut order = Vec::with_capacity(makers);
    let mut seen = vec![false; makers];
    for start in 0..makers {
        let mut stack = vec![(start, 0)];
        while let Some((at, next)) = stack.pop() {
            if next == 0 && std::mem::replace(&mut seen[at], true) {
                continue;
            }
            match forth[at].get(next) {
                Some(&to) => {
                    stack.push((at, next + 1));
                    if !seen[to] {
                        stack.push((to, 0));
                    }
                }
                None => order.push(at),
            }
        }
    }
    let mut component = vec![usize::MAX; makers];
    for start in order.into_iter().rev() {
        let mut stack = vec![start];
        while let Some(at) = stack.pop() {
            if component[at] == usize::MAX {
                component[at] = start;
                stack.extend(&back[at]);
            }
        }
    }
    component
}

/// The images along the shortest way from one maker to another.
fn path(from: usize, to: usize, edges: &[Edge]) -> Vec<String> {
    let mut forth: HashMap<usize, Vec<&Edge>> = HashMap::new();
    for edge in edges {
        forth.entry(edge.from).or_default().push(edge);
    }
    let mut came: HashMap<usize, &Edge> = HashMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        if at == to {
            break;
        }
        for &edge in forth.get(&at).into_iter().flatten() {
            if edge.to != from && !came.contains_key(&edge.to) {
                came.insert(edge.to, edge);
                next.push_back(edge.to);
            }
        }
    }
    let mut images = Vec::new();
    let mut at = to;
    while let Some(edge) = came.get(&at).filter(|_| at != from) {
        images.push(edge.via.clone());
        at = edge.from;
    }
    images.reverse();
    images
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maker(place: &str, makes: &[&str], stands_on: &[&str]) -> Maker {
        Maker {
            place: place.to_owned(),
            makes: makes.iter().map(|image| (*image).to_owned()).collect(),
            makes_any_of: None,
            stands_on: stands_on.iter().map(|image| (*image).to_owned()).collect(),
            may_stand_on_itself: false,
        }
    }

    fn any(place: &str, name: &str, stands_on: &[&str]) -> Maker {
        Maker {
            makes_any_of: Some(name.to_owned()),
            ..maker(place, &[], stands_on)
        }
    }

    fn circle(makers: &[Maker]) -> Option<Vec<String>> {
        new_circle(&[], makers, |maker| maker.place == "a").map(|circle| circle.images)
    }

    #[test]
    fn a_circle_is_named_image_by_image() {
        let makers = [
            maker("a", &["a:1"], &["x:1", "b:1"]),
            maker("b", &["b:1"], &["c:1"]),
            maker("c", &["c:1", "c:2"], &["a:1"]),
        ];
        assert_eq!(circle(&makers).unwrap(), ["b:1", "c:1", "a:1", "b:1"]);
    }

    #[test]
    fn a_diamond_and_other_tags_of_the_same_image_are_no_circle() {
        let diamond = [
            maker("a", &["a:1"], &["b:1", "c:1"]),
            maker("b", &["b:1"], &["d:1"]),
            maker("c", &["c:1"], &["d:1"]),
            maker("d", &["d:1"], &["e:1"]),
        ];
        assert_eq!(circle(&diamond), None);
        let stages = [
            maker("a", &["a:run"], &["a:build"]),
            maker("b", &["a:build"], &["a:old"]),
        ];
        assert_eq!(circle(&stages), None);
    }

    #[test]
    fn what_may_have_any_tag_counts_by_name_unless_another_makes_exactly_that() {
        let makers = [any("a", "a", &["b:1"]), maker("b", &["b:1"], &["a:1.2"])];
        assert_eq!(circle(&makers).unwrap(), ["b:1", "a:1.2", "b:1"]);
        let exact = [
            any("a", "a", &["b:1"]),
            maker("b", &["b:1"], &["a:tools"]),
            maker("c", &["a:tools"], &[]),
        ];
        assert_eq!(circle(&exact), None);
    }

    #[test]
    fn standing_on_itself_is_a_circle_unless_that_is_fine() {
        let alone = maker("a", &["a:1"], &["a:1"]);
        assert_eq!(circle(std::slice::from_ref(&alone)).unwrap(), ["a:1", "a:1"]);
        let fine = Maker {
            may_stand_on_itself: true,
            ..alone
        };
        assert_eq!(circle(&[fine]), None);
        let by_name = Maker {
            may_stand_on_itself: true,
            ..any("a", "a", &["a:1"])
        };
        assert_eq!(circle(&[by_name]).unwrap(), ["a:1", "a:1"]);
    }

    #[test]
    fn a_circle_that_was_there_before_is_not_new() {
        let makers = [maker("a", &["a:1"], &["b:1"]), maker("b", &["b:1"], &["a:1"])];
        assert_eq!(new_circle(&makers, &makers, |_| true), None);
        assert!(new_circle(&makers[..1], &makers, |_| true).is_some());
    }

    #[test]
    fn a_long_chain_is_looked_through_in_no_time() {
        let link = |index: usize| {
            maker(
                &index.to_string(),
                &[&format!("i:{index}")],
                &[&format!("i:{}", index + 1)],
            )
        };
        let makers: Vec<Maker> = (0..20_000).map(link).collect();
        assert_eq!(circle(&makers), None);
    }
}
