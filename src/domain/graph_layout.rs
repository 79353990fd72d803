//! Where the boxes of a picture of a graph stand: in columns, what others stand on to the left of them, with as few lines
//! that cross as a few looks at it bring about. It knows nothing of what the boxes are.

use std::collections::HashMap;

/// Size of a box, in the units of the drawing.
pub const WIDTH: i64 = 240;
pub const HEIGHT: i64 = 44;

/// Room between two columns, in which the lines bend, and between two things of a column.
pub const GAP: i64 = 64;
const SPACE: i64 = 12;

/// Room that a line takes where it passes a column.
const LANE: i64 = 4;

/// How often the order in the columns is improved, and then their heights.
const ROUNDS: usize = 8;

/// A point of the drawing, from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub x: i64,
    pub y: i64,
}

/// A line from one box to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place in the edges that were given.
    pub edge: usize,
    /// From the left to the right: where it leaves a box, where it passes columns, each by a point on either side, and where
    /// it reaches a box.
    pub points: Vec<Point>,
    /// It closes a circle: what it leads to is at its left end.
    pub is_back: bool,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    pub width: i64,
    pub height: i64,
    /// The upper left corner of each box.
    pub boxes: Vec<Point>,
    /// An edge from a box to itself has none.
    pub lines: Vec<Line>,
}

/// Something that has a place in a column: a box, or where the lines of a box pass on their way further right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Thing {
    Box(usize),
    /// Of this box, in this column. All its lines pass a column together.
    Lane(usize, usize),
}

impl Thing {
    fn height(self) -> i64 {
        match self {
            Self::Box(_) => HEIGHT,
            Self::Lane(..) => LANE,
        }
    }
}

/// Lays out `count` boxes. An edge leads from what is stood on to what stands on it.
///
/// Takes time in proportion to the edges and to what they pass: the number of boxes times that of columns at most.
pub fn lay_out(count: usize, edges: &[(usize, usize)]) -> Layout {
    let is_back = back_edges(count, edges);
    let forward: Vec<Option<(usize, usize)>> = edges
        .iter()
        .zip(&is_back)
        .map(|(&(from, to), is_back)| match (from == to, is_back) {
            (true, _) => None,
            (false, true) => Some((to, from)),
            (false, false) => Some((from, to)),
        })
        .collect();
    let column_of = columns_of(count, &forward);
    let mut columns = Columns::new(&column_of, &forward);
    columns.order();
    columns.place();
    columns.draw(&column_of, &forward, &is_back)
}

/// Which edges lead back to where a way along the others came from. Turned around, they close no circle.
fn back_edges(count: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        OnTheWay,
        Done,
    }
    let mut outgoing: Vec<Vec<usize>> = vec![vec![]; count];
    let mut has_incoming = vec![false; count];
    for (index, &(from, to)) in edges.iter().enumerate() {
        outgoing[from].push(index);
        has_incoming[to] |= from != to;
    }
    let mut is_back = vec![false; edges.len()];
    let mut seen = vec![Seen::No; count];
    let (first, rest): (Vec<usize>, Vec<usize>) = (0..count).partition(|&node| !has_incoming[node]);
    for start in first.into_iter().chain(rest) {
        if seen[start] != Seen::No {
            continue;
        }
        seen[start] = Seen::OnTheWay;
        let mut way = vec![(start, 0)];
        while let Some((node, next)) = way.last_mut() {
            let Some(&edge) = outgoing[*node].get(*next) else {
                seen[*node] = Seen::Done;
                way.pop();
                continue;
            };
            *next += 1;
            let to = edges[edge].1;
            match seen[to] {
                Seen::No => {
                    seen[to] = Seen::OnTheWay;
                    way.push((to, 0));
                }
                Seen::OnTheWay => is_back[edge] = true,
                Seen::Done => {}
            }
        }
    }
    is_back
}

/// The column of each box: one more than the rightmost that it stands on.
fn columns_of(count: usize, forward: &[Option<(usize, usize)>]) -> Vec<usize> {
    let mut outgoing: Vec<Vec<usize>> = vec![vec![]; count];
    let mut left = vec![0; count];
    for &(from, to) in forward.iter().flatten() {
        outgoing[from].push(to);
        left[to] += 1;
    }
    let mut columns = vec![0; count];
    let mut ready: Vec<usize> = (0..count).filter(|&node| left[node] == 0).collect();
    while let Some(node) = ready.pop() {
        for &to in &outgoing[node] {
            columns[to] = columns[to].max(columns[node] + 1);
            left[to] -= 1;
            if left[to] == 0 {
                ready.push(to);
            }
        }
    }
    columns
}

/// The columns while their order is looked for.
struct Columns {
    columns: Vec<Vec<Thing>>,
    /// What each thing is joined with in the column to its left, and to its right.
    before: HashMap<Thing, Vec<Thing>>,
    after: HashMap<Thing, Vec<Thing>>,
    /// The upper edge of each.
    tops: HashMap<Thing, i64>,
}

impl Columns {
    fn new(column_of: &[usize], forward: &[Option<(usize, usize)>]) -> Self {
        let last = column_of.iter().max().map_or(0, |last| last + 1);
        let mut columns: Vec<Vec<Thing>> = vec![vec![]; last];
        for (node, &column) in column_of.iter().enumerate() {
            columns[column].push(Thing::Box(node));
        }
        let mut furthest: Vec<usize> = column_of.to_vec();
        for &(from, to) in forward.iter().flatten() {
            furthest[from] = furthest[from].max(column_of[to]);
        }
        let mut this = Self {
            columns,
            before: HashMap::new(),
            after: HashMap::new(),
            tops: HashMap::new(),
        };
        for (node, &furthest) in furthest.iter().enumerate() {
            let mut left = Thing::Box(node);
            for column in column_of[node] + 1..furthest {
                let lane = Thing::Lane(node, column);
                this.columns[column].push(lane);
                this.join(left, lane);
                left = lane;
            }
        }
        for &(from, to) in forward.iter().flatten() {
            let column = column_of[to] - 1;
            let left = match column == column_of[from] {
                true => Thing::Box(from),
                false => Thing::Lane(from, column),
            };
            this.join(left, Thing::Box(to));
        }
        this
    }

    fn join(&mut self, left: Thing, right: Thing) {
        self.after.entry(left).or_default().push(right);
        self.before.entry(right).or_default().push(left);
    }

    /// Brings everything near the middle of what it is joined with, from the left to the right and back.
    fn order(&mut self) {
        for round in 0..ROUNDS {
            self.sweep(round, |this, column, joined| {
                let places: HashMap<Thing, usize> = joined.iter().copied().zip(0..).collect();
                let neighbours = this.neighbours(round);
                let middle = |(place, thing): (usize, &Thing)| {
                    let joined = neighbours.get(thing).into_iter().flatten();
                    let joined: Vec<usize> = joined.filter_map(|other| places.get(other).copied()).collect();
                    mean(joined.iter().map(|&place| place as f64)).unwrap_or(place as f64)
                };
                let mut keyed: Vec<(f64, Thing)> = this.columns[column]
                    .iter()
                    .enumerate()
                    .map(|(place, thing)| (middle((place, thing)), *thing))
                    .collect();
                keyed.sort_by(|(one, _), (other, _)| one.total_cmp(other));
                this.columns[column] = keyed.into_iter().map(|(_, thing)| thing).collect();
            });
        }
    }

    /// Gives everything a height, as near to the middle of what it is joined with as the order allows; in the last round, from
    /// the right to the left, to the first of it: a picture that is read from its upper left corner begins there.
    fn place(&mut self) {
        for column in 0..self.columns.len() {
            self.settle(column, |_| None);
        }
        for round in 0..ROUNDS {
            self.sweep(round, |this, column, _| {
                let neighbours = this.neighbours(round);
                let wanted: HashMap<Thing, f64> = this.columns[column]
                    .iter()
                    .filter_map(|thing| {
                        let joined = neighbours.get(thing).into_iter().flatten();
                        let middles = joined.map(|other| this.middle(*other) as f64);
                        let middle = match round + 1 == ROUNDS {
                            true => middles.reduce(f64::min),
                            false => mean(middles),
                        };
                        Some((*thing, middle? - thing.height() as f64 / 2.0))
                    })
                    .collect();
                this.settle(column, |thing| wanted.get(&thing).copied());
            });
        }
    }

    /// Goes over the columns, from the left in even rounds and from the right in odd ones; with each comes the one before.
    fn sweep(&mut self, round: usize, mut step: impl FnMut(&mut Self, usize, Vec<Thing>)) {
        let count = self.columns.len();
        for index in 1..count {
            let (column, joined) = match round.is_multiple_of(2) {
                true => (index, index - 1),
                false => (count - 1 - index, count - index),
            };
            let joined = self.columns[joined].clone();
            step(self, column, joined);
        }
    }

    fn neighbours(&self, round: usize) -> &HashMap<Thing, Vec<Thing>> {
        match round.is_multiple_of(2) {
            true => &self.before,
            false => &self.after,
        }
    }

    fn middle(&self, thing: Thing) -> i64 {
        self.tops.get(&thing).copied().unwrap_or_default() + thing.height() / 2
    }

    /// Places a column in its order, each thing as near as possible to where it is wanted, by the least sum of squares;
    /// what is wanted nowhere stays where it is.
    fn settle(&mut self, column: usize, wanted: impl Fn(Thing) -> Option<f64>) {
        let things = &self.columns[column];
        // What is between two neighbours at least is taken out of the sum: then it is enough that nothing is above the one
        // before, and whoever would be is moved to the common middle.
        let mut offset = 0;
        let mut groups: Vec<(f64, usize)> = Vec::with_capacity(things.len());
        for thing in things {
            let top = self.tops.get(thing).copied().unwrap_or(offset);
            let mut group = (wanted(*thing).unwrap_or(top as f64) - offset as f64, 1);
            offset += thing.height() + SPACE;
            while let Some(&(above, count)) = groups.last().filter(|(above, _)| *above > group.0) {
                groups.pop();
                let all = count + group.1;
                group = ((above * count as f64 + group.0 * group.1 as f64) / all as f64, all);
            }
            groups.push(group);
        }
        let shifts = groups
            .into_iter()
            .flat_map(|(shift, count)| std::iter::repeat_n(shift.round() as i64, count));
        let mut offset = 0;
        for (thing, shift) in things.iter().zip(shifts) {
            self.tops.insert(*thing, offset + shift);
            offset += thing.height() + SPACE;
        }
    }

    fn draw(&self, column_of: &[usize], forward: &[Option<(usize, usize)>], is_back: &[bool]) -> Layout {
        let highest = self.tops.values().min().copied().unwrap_or_default();
        let lowest = self.tops.iter().map(|(thing, top)| top + thing.height()).max();
        let x = |column: usize| column as i64 * (WIDTH + GAP);
        let middle = |thing| self.middle(thing) - highest;
        let boxes = column_of.iter().enumerate().map(|(node, &column)| Point {
            x: x(column),
            y: self.tops[&Thing::Box(node)] - highest,
        });
        let lines = forward.iter().enumerate().filter_map(|(edge, ends)| {
            let (from, to) = (*ends)?;
            let (first, last) = (column_of[from], column_of[to]);
            let start = Point {
                x: x(first) + WIDTH,
                y: middle(Thing::Box(from)),
            };
            let end = Point {
                x: x(last),
                y: middle(Thing::Box(to)),
            };
            let passed = (first + 1..last).flat_map(|column| {
                let y = middle(Thing::Lane(from, column));
                [x(column), x(column) + WIDTH].map(|x| Point { x, y })
            });
            Some(Line {
                edge,
                points: [start].into_iter().chain(passed).chain([end]).collect(),
                is_back: is_back[edge],
            })
        });
        Layout {
            width: (self.columns.len() as i64 * (WIDTH + GAP) - GAP).max(0),
            height: lowest.map_or(0, |lowest| lowest - highest),
            boxes: boxes.collect(),
            lines: lines.collect(),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(place: &Point) -> i64 {
        place.x / (WIDTH + GAP)
    }

    /// Two boxes, or a box and a line that passes its column, do not touch; lines go from the left to the right.
    fn check(layout: &Layout) {
        for (index, one) in layout.boxes.iter().enumerate() {
            assert!(one.x >= 0 && one.x + WIDTH <= layout.width);
            assert!(one.y >= 0 && one.y + HEIGHT <= layout.height);
            for other in &layout.boxes[index + 1..] {
                assert!(
                    one.x != other.x || (one.y - other.y).abs() >= HEIGHT + SPACE,
                    "{one:?} {other:?}"
                );
            }
            for line in &layout.lines {
                for passed in line.points[1..line.points.len() - 1]
                    .iter()
                    .filter(|point| point.x == one.x)
                {
                    assert!(
                        passed.y < one.y || passed.y > one.y + HEIGHT,
                        "{passed:?} lies on {one:?}"
                    );
                }
            }
        }
        for line in &layout.lines {
            assert!(line.points.windows(2).all(|pair| pair[0].x < pair[1].x), "{line:?}");
        }
    }

    fn crossings(layout: &Layout) -> usize {
        let pieces: Vec<(Point, Point)> = layout
            .lines
            .iter()
            .flat_map(|line| line.points.windows(2).map(|pair| (pair[0], pair[1])))
            .filter(|(from, to)| to.x - from.x == GAP)
            .collect();
        let cross = |(a, b): &(Point, Point), (c, d): &(Point, Point)| a.x == c.x && (a.y - c.y) * (b.y - d.y) < 0;
        let pairs = pieces.iter().enumerate();
        pairs
            .map(|(index, one)| pieces[index + 1..].iter().filter(|other| cross(one, other)).count())
            .sum()
    }

    #[test]
    fn what_is_stood_on_is_to_the_left_of_what_stands_on_it() {
        let layout = lay_out(4, &[(0, 1), (1, 2), (0, 2), (2, 3)]);
        check(&layout);
        assert_eq!(layout.boxes.iter().map(column).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(layout.lines[2].points.len(), 4, "the long line passes a column");
        assert!(layout.lines.iter().all(|line| !line.is_back));
    }

    #[test]
    fn lines_that_need_not_cross_do_not() {
        let layout = lay_out(8, &[(0, 7), (1, 6), (2, 5), (3, 4)]);
        check(&layout);
        assert_eq!(crossings(&layout), 0);
        assert!(
            layout.lines.iter().all(|line| line.points[0].y == line.points[1].y),
            "{layout:?}"
        );
    }

    #[test]
    fn a_circle_is_drawn_with_one_line_that_leads_back() {
        let layout = lay_out(4, &[(0, 1), (1, 2), (2, 3), (3, 1), (2, 2)]);
        check(&layout);
        let back: Vec<usize> = layout
            .lines
            .iter()
            .filter(|line| line.is_back)
            .map(|line| line.edge)
            .collect();
        assert_eq!(back, [3]);
        assert_eq!(layout.lines.len(), 4, "what stands on itself has no line");
        let alone = lay_out(2, &[(0, 1), (1, 0)]);
        check(&alone);
        assert_eq!(alone.lines.iter().filter(|line| line.is_back).count(), 1);
    }

    #[test]
    fn a_hub_stands_beside_the_first_of_what_stands_on_it() {
        let edges: Vec<(usize, usize)> = (1..=9).map(|leaf| (0, leaf)).collect();
        let layout = lay_out(10, &edges);
        check(&layout);
        assert_eq!(layout.boxes[0].y, layout.boxes[1].y);
    }

    #[test]
    fn nothing_and_boxes_alone_are_laid_out() {
        assert_eq!(lay_out(0, &[]), Layout::default());
        let layout = lay_out(3, &[]);
        check(&layout);
        assert_eq!(layout.lines, []);
    }

    /// As a big installation has it: few bases, own bases on them, applications on those, some on several; one circle.
    #[test]
    fn a_graph_of_two_hundred_is_laid_out_without_anything_on_top_of_another() {
        let mut edges = Vec::new();
        for node in 8..200_usize {
            // Numbers that look thrown, the same in every run.
            let thrown = node.wrapping_mul(2_654_435_761) >> 7;
            let below = if node < 40 { 8 } else { 40 };
            edges.push((thrown % below, node));
            if thrown.is_multiple_of(5) {
                edges.push((thrown / 5 % node, node));
            }
        }
        edges.push((150, 20));
        edges.push((20, 150));
        edges.sort_unstable();
        edges.dedup();
        let layout = lay_out(200, &edges);
        check(&layout);
        assert_eq!(layout.lines.len(), edges.len());
        for line in &layout.lines {
            let (from, to) = edges[line.edge];
            let goes_right = column(&layout.boxes[from]) < column(&layout.boxes[to]);
            assert_eq!(goes_right, !line.is_back, "{from} {to}");
        }
        assert_eq!(layout.lines.iter().filter(|line| line.is_back).count(), 1);
        assert!(layout.width <= 8 * (WIDTH + GAP), "{}", layout.width);
        assert!(layout.height <= 200 * (HEIGHT + SPACE) * 3 / 2, "{}", layout.height);
    }

    #[test]
    fn a_way_as_long_as_there_are_boxes_is_laid_out() {
        let mut edges: Vec<(usize, usize)> = (1..400).map(|node| (node - 1, node)).collect();
        edges.extend((1..400).map(|node| (0, node)));
        let layout = lay_out(400, &edges);
        check(&layout);
        assert_eq!(layout.width, 400 * (WIDTH + GAP) - GAP);
    }
}
