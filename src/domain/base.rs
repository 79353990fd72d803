//! The graph of repositories that stand on each other's images.

use std::collections::{HashMap, HashSet};

/// Finds a circle through `start` in a graph of image names (`image -> the images it stands on`).
///
/// Returns the images on the circle in order, `start` first and last, or `None` where there is none.
pub fn circle_through(start: &str, stands_on: &HashMap<String, Vec<String>>) -> Option<Vec<String>> {
    let mut path = vec![start.to_owned()];
    let mut seen = HashSet::new();
    search(start, start, stands_on, &mut seen, &mut path).then_some(path)
}

fn search(
    at: &str,
    goal: &str,
    stands_on: &HashMap<String, Vec<String>>,
    seen: &mut HashSet<String>,
    path: &mut Vec<String>,
) -> bool {
    for next in stands_on.get(at).into_iter().flatten() {
        path.push(next.clone());
        if next == goal || (seen.insert(next.clone()) && search(next, goal, stands_on, seen, path)) {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> HashMap<String, Vec<String>> {
        edges
            .iter()
            .map(|(k, v)| ((*k).to_owned(), v.iter().map(|s| (*s).to_owned()).collect()))
            .collect()
    }

    #[test]
    fn a_circle_is_named_from_its_start() {
        let graph = graph(&[("a", &["x", "b"]), ("b", &["c"]), ("c", &["a"]), ("x", &[])]);
        assert_eq!(circle_through("a", &graph).unwrap(), ["a", "b", "c", "a"]);
    }

    #[test]
    fn an_image_on_itself_is_a_circle() {
        assert_eq!(circle_through("a", &graph(&[("a", &["a"])])).unwrap(), ["a", "a"]);
    }

    #[test]
    fn a_diamond_and_a_circle_elsewhere_are_none() {
        let graph = graph(&[
            ("a", &["b", "c"]),
            ("b", &["d"]),
            ("c", &["d"]),
            ("d", &["e"]),
            ("e", &["d"]),
        ]);
        assert_eq!(circle_through("a", &graph), None);
    }
}
