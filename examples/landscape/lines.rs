//! Lines for a picture: clipped at its border, and without corners too small to see.

use crate::function::Point;
use std::ops::Range;

/// The pieces of a line within a rectangle.
pub fn clip(line: &[Point], [xs, ys]: &[Range<f64>; 2]) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for ends in line.windows(2) {
        let within = clip_axis([ends[0], ends[1]], 0, xs).and_then(|ends| clip_axis(ends, 1, ys));
        let Some([from, to]) = within else { continue };
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&from) => piece.push(to),
            _ => pieces.push(vec![from, to]),
        }
    }
    pieces
}

/// The part of a segment whose coordinate on this axis is in the range.
fn clip_axis(ends: [Point; 2], axis: usize, range: &Range<f64>) -> Option<[Point; 2]> {
    let [from, to] = ends.map(|end| end[axis]);
    if from.max(to) < range.start || from.min(to) > range.end {
        return None;
    }
    // An end within the range must keep its exact bits: pieces are joined where ends are equal.
    Some(ends.map(|end| {
        let limit = end[axis].clamp(range.start, range.end);
        if limit == end[axis] { end } else { interpolate(ends, (limit - from) / (to - from)) }
    }))
}

pub fn interpolate([from, to]: [Point; 2], share: f64) -> Point {
    [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]
}

/// The line without the corners whose removal moves it by less than `tolerance` (Douglas and
/// Peucker 1973).
pub fn simplify(line: &[Point], tolerance: f64) -> Vec<Point> {
    let mut kept = vec![false; line.len()];
    // A stack instead of recursion, since paths can have very many corners.
    let mut spans = vec![(0, line.len().saturating_sub(1))];
    while let Some((first, last)) = spans.pop() {
        let distance = |&corner: &usize| distance(line[corner], [line[first], line[last]]);
        let farthest = (first + 1..last).max_by(|a, b| distance(a).total_cmp(&distance(b)));
        if let Some(corner) = farthest.filter(|corner| distance(corner) > tolerance) {
            kept[corner] = true;
            spans.extend([(first, corner), (corner, last)]);
        }
    }
    let is_end = |index: usize| index == 0 || index + 1 == line.len();
    let corners = line.iter().enumerate().filter(|(index, _)| kept[*index] || is_end(*index));
    corners.map(|(_, &corner)| corner).collect()
}

/// The distance of a point from a segment.
fn distance([x, y]: Point, ends: [Point; 2]) -> f64 {
    let [from, to] = ends;
    let direction = [to[0] - from[0], to[1] - from[1]];
    let length_squared = direction[0] * direction[0] + direction[1] * direction[1];
    let along = (x - from[0]) * direction[0] + (y - from[1]) * direction[1];
    let share = if length_squared > 0.0 { (along / length_squared).clamp(0.0, 1.0) } else { 0.0 };
    let nearest = interpolate(ends, share);
    (x - nearest[0]).hypot(y - nearest[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_the_border() {
        let line = [[-1.0, 0.5], [0.5, 0.5], [0.5, 2.0], [2.0, 0.5], [0.75, 0.5]];
        let pieces = clip(&line, &[0.0..1.0, 0.0..1.0]);
        let expected = [vec![[0.0, 0.5], [0.5, 0.5], [0.5, 1.0]], vec![[1.0, 0.5], [0.75, 0.5]]];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn only_visible_corners_are_kept() {
        let line = [[0.0, 0.0], [1.0, 0.01], [2.0, 0.0], [2.0, 3.0]];
        assert_eq!(simplify(&line, 0.1), [[0.0, 0.0], [2.0, 0.0], [2.0, 3.0]]);
        assert!(simplify(&[], 0.1).is_empty());
    }
}
