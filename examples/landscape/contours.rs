//! Contours: the regions where a function is below a level, as polygons.

use crate::function::{Function, Point};
use crate::lines::interpolate;
use std::collections::BTreeMap;

/// Samples along each axis.
const SAMPLES: usize = 240;

/// A function's values at the nodes of a grid over its view.
pub struct Samples {
    function: Function,
    /// Logarithms, because the functions vary over many powers of 10. A ring of infinite values
    /// surrounds the grid and closes every contour along the border.
    values: Vec<f64>,
}

/// An edge of a cell: its nodes, in ascending order.
type Side = [[usize; 2]; 2];

/// Nodes along each axis, including the ring.
const NODES: usize = SAMPLES + 2;

impl Samples {
    pub fn new(function: Function) -> Self {
        let mut samples = Self { function, values: vec![f64::INFINITY; NODES * NODES] };
        for row in 1..=SAMPLES {
            for column in 1..=SAMPLES {
                let value = function.value(samples.place([column, row]));
                samples.values[row * NODES + column] = value.max(f64::MIN_POSITIVE).ln();
            }
        }
        samples
    }

    /// The polygons in which the function is below a level.
    ///
    /// They have no holes: along one of the axes both functions are parabolas that open upwards, so
    /// that there is no local maximum.
    pub fn below(&self, level: f64) -> Vec<Vec<Point>> {
        let level = level.ln();
        let mut next = BTreeMap::new();
        for row in 0..NODES - 1 {
            for column in 0..NODES - 1 {
                next.extend(self.segments([column, row], level));
            }
        }
        let mut polygons = Vec::new();
        while let Some((first, mut side)) = next.pop_first() {
            let mut polygon = vec![self.crossing(first, level)];
            while side != first {
                polygon.push(self.crossing(side, level));
                match next.remove(&side) {
                    Some(following) => side = following,
                    None => break,
                }
            }
            polygons.push(polygon);
        }
        polygons
    }

    /// The contour's segments in a cell (marching squares), each from one edge to another, with the
    /// lower values to the left: the edge where a segment begins is the one where another ends.
    fn segments(&self, [column, row]: [usize; 2], level: f64) -> Vec<(Side, Side)> {
        let corner = |k: usize| [column + usize::from(matches!(k % 4, 1 | 2)), row + k % 4 / 2];
        let below = |k: usize| self.value(corner(k)) < level;
        let side = |k: usize| {
            let mut nodes = [corner(k), corner(k + 1)];
            nodes.sort_unstable();
            nodes
        };
        // Counterclockwise around the cell: a segment begins where a run of corners below the level
        // ends, and ends where that run began.
        let ends_low = (4..8).filter(|&k| below(k) && !below(k + 1));
        ends_low
            .filter_map(|k| {
                let begins_low = (k - 3..k).rev().find(|&k| !below(k) && below(k + 1))?;
                Some((side(k), side(begins_low)))
            })
            .collect()
    }

    /// The point of an edge where the function has the level.
    fn crossing(&self, side: Side, level: f64) -> Point {
        let [from, to] = side.map(|node| self.value(node));
        let [low, high] = if from < to { side } else { [side[1], side[0]] };
        // At the ring, with its infinite values, this is 0: the node at the border.
        let share = (level - from.min(to)) / (from.max(to) - from.min(to));
        interpolate([self.place(low), self.place(high)], share)
    }

    fn value(&self, [column, row]: [usize; 2]) -> f64 {
        self.values[row * NODES + column]
    }

    fn place(&self, node: [usize; 2]) -> Point {
        let [xs, ys] = self.function.view();
        let along = |index: usize| (index as f64 - 1.0) / (SAMPLES as f64 - 1.0);
        [
            xs.start + along(node[0]) * (xs.end - xs.start),
            ys.start + along(node[1]) * (ys.end - ys.start),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn contours_are_at_their_level_or_the_border() {
        for &function in Function::value_variants() {
            let samples = Samples::new(function);
            let [xs, ys] = function.view();
            let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
            for [x, y] in samples.below(10.0).into_iter().flatten() {
                let at_border =
                    near(x, xs.start) || near(x, xs.end) || near(y, ys.start) || near(y, ys.end);
                let value = function.value([x, y]);
                assert!(at_border || (9.0..11.0).contains(&value), "{value} at {x}, {y}");
            }
        }
    }

    #[test]
    fn everything_is_below_a_high_level() {
        let polygons = Samples::new(Function::Beale).below(1e12);
        let [polygon] = &polygons[..] else { panic!("{} polygons", polygons.len()) };
        assert!(polygon.len() >= 4 * (SAMPLES - 1));
    }
}
