//! The picture of who stands on whom: boxes and lines as a template draws them. Boxes are for the eye and the mouse; the list
//! below it says the same to all.

use crate::domain::graph_layout::{self, HEIGHT, Line, Point, WIDTH};

/// Most boxes and lines of one picture: more than these nobody reads, and no browser needs to.
const MOST_NODES: usize = 400;
const MOST_LINES: usize = 2000;

/// Room around the boxes, so that no outline is cut off.
const MARGIN: i64 = 4;

/// Characters of a name that a box has room for, in a wide font too: one with corners, and one with round ends.
const LONGEST_OURS: usize = 27;
const LONGEST_ELSEWHERE: usize = 25;

/// What a box stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// As people write it, whole.
    pub name: String,
    pub href: String,
    /// Built here; else it comes from elsewhere.
    pub is_ours: bool,
    /// It stands on an old version of something.
    pub is_behind: bool,
    /// What else is to be said of it, in a few words.
    pub detail: String,
}

/// The fields of `bases/picture.html`; templates hold it as `picture`.
pub struct Picture {
    pub width: i64,
    pub height: i64,
    pub boxes: Vec<BoxView>,
    pub lines: Vec<LineView>,
    pub has_circle: bool,
}

/// A box.
pub struct BoxView {
    pub x: i64,
    pub y: i64,
    pub node: Node,
    /// Its name, cut in the middle where it is too long.
    pub short: String,
}

/// A line.
pub struct LineView {
    /// Its place in the edges that were given.
    edge: usize,
    pub path: String,
    pub is_back: bool,
    /// What it leads to was built on an old version of what it comes from.
    pub is_behind: bool,
}

/// A line between two nodes, by their places: from what is stood on to what stands on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub is_behind: bool,
}

impl BoxView {
    pub const WIDTH: i64 = WIDTH;
    pub const HEIGHT: i64 = HEIGHT;

    /// Half as high as it is round: what comes from elsewhere has round ends.
    pub fn radius(&self) -> i64 {
        if self.node.is_ours { 6 } else { HEIGHT / 2 }
    }

    /// Where its words begin.
    pub fn text_x(&self) -> i64 {
        self.x + if self.node.is_ours { 12 } else { 20 }
    }

    pub fn title(&self) -> String {
        format!("{}: {}", self.node.name, self.node.detail)
    }
}

impl Picture {
    /// Draws a graph; `None`: it is too big to be read.
    pub fn new(nodes: Vec<Node>, edges: &[Edge]) -> Option<Self> {
        if nodes.len() > MOST_NODES || edges.len() > MOST_LINES {
            return None;
        }
        let pairs: Vec<(usize, usize)> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let layout = graph_layout::lay_out(nodes.len(), &pairs);
        let boxes = layout.boxes.iter().zip(nodes).map(|(corner, node)| BoxView {
            x: corner.x + MARGIN,
            y: corner.y + MARGIN,
            short: shorten(&node.name, if node.is_ours { LONGEST_OURS } else { LONGEST_ELSEWHERE }),
            node,
        });
        let lines: Vec<LineView> = layout
            .lines
            .iter()
            .map(|line| LineView {
                edge: line.edge,
                path: path(line),
                is_back: line.is_back,
                is_behind: edges[line.edge].is_behind,
            })
            .collect();
        Some(Self {
            width: layout.width + 2 * MARGIN,
            height: layout.height + 2 * MARGIN,
            boxes: boxes.collect(),
            has_circle: lines.iter().any(|line| line.is_back),
            lines,
        })
    }

    /// Whether the line of an edge closes a circle.
    pub fn is_back(&self, edge: usize) -> bool {
        let place = self.lines.binary_search_by_key(&edge, |line| line.edge);
        place.is_ok_and(|place| self.lines[place].is_back)
    }
}

/// Straight through the columns, bent between them, with the head of an arrow at the end that it leads to.
fn path(line: &Line) -> String {
    let moved = |point: &Point| (point.x + MARGIN, point.y + MARGIN);
    let mut path = String::new();
    let mut ends = line.points.iter().map(moved);
    let Some((first_x, first_y)) = ends.next() else {
        return path;
    };
    path.push_str(&format!("M{first_x} {first_y}"));
    let (mut last_x, mut last_y) = (first_x, first_y);
    for (index, (x, y)) in ends.enumerate() {
        // Between two columns it bends; the next piece passes the column.
        match index.is_multiple_of(2) {
            true => {
                let middle = (last_x + x) / 2;
                path.push_str(&format!("C{middle} {last_y} {middle} {y} {x} {y}"));
            }
            false => path.push_str(&format!("H{x}")),
        }
        (last_x, last_y) = (x, y);
    }
    let (x, y, direction) = match line.is_back {
        true => (first_x, first_y, 1),
        false => (last_x, last_y, -1),
    };
    path.push_str(&format!("M{} {}L{x} {y}l{} 4", x + 7 * direction, y - 4, 7 * direction));
    path
}

/// A name of at most `longest` characters, cut in the middle: beginnings and ends tell images apart.
fn shorten(name: &str, longest: usize) -> String {
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= longest {
        return name.to_owned();
    }
    let end = (longest - 1) / 2;
    let begin = longest - 1 - end;
    let (begin, end) = (&characters[..begin], &characters[characters.len() - end..]);
    begin.iter().chain(['…'].iter()).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node {
            name: name.to_owned(),
            href: "/".to_owned(),
            is_ours: true,
            is_behind: false,
            detail: "current".to_owned(),
        }
    }

    fn edge(from: usize, to: usize) -> Edge {
        Edge {
            from,
            to,
            is_behind: false,
        }
    }

    #[test]
    fn long_names_are_cut_in_the_middle_and_short_ones_are_not() {
        assert_eq!(shorten("alpine:3.20", 11), "alpine:3.20");
        assert_eq!(shorten("registry.example.com/team/app:1.2", 11), "regis…p:1.2");
        assert_eq!(shorten("äöüäöüäöü", 4), "äö…ü");
    }

    #[test]
    fn a_line_bends_between_columns_and_goes_straight_through_them() {
        let nodes = vec![node("a"), node("b"), node("c")];
        let picture = Picture::new(nodes, &[edge(0, 1), edge(1, 2), edge(0, 2)]).unwrap();
        let long = &picture.lines[2].path;
        assert_eq!((long.matches('C').count(), long.matches('H').count()), (2, 1), "{long}");
        assert!(!picture.has_circle);
    }

    #[test]
    fn a_circle_is_told_and_what_is_too_big_is_not_drawn() {
        let circle = Picture::new(vec![node("a"), node("b")], &[edge(0, 1), edge(1, 0)]).unwrap();
        assert!(circle.has_circle);
        assert_eq!([circle.is_back(0), circle.is_back(1)], [false, true]);
        let many = vec![node("a"); MOST_NODES + 1];
        assert!(Picture::new(many, &[]).is_none());
        assert!(Picture::new(vec![node("a")], &vec![edge(0, 0); MOST_LINES + 1]).is_none());
    }
}
