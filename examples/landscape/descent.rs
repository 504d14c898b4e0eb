//! A descent: what goes in and what comes out, on the GPU as on the CPU.

use crate::function::{Function, Point};
use std::time::Duration;
use wgpu_optim::DynRule;

/// Closer to the minimum than this, a start has arrived.
pub const NEAR: f64 = 0.1;

/// Starts whose whole paths are recorded: the marked one, and the cloud around it.
const RECORDED_STARTS: usize = 25;

/// Starts that descend a function by a rule, all of them at once.
pub struct Descent<'a> {
    pub function: Function,
    pub rule: Box<dyn DynRule>,
    pub starts: &'a [[f32; 2]],
    pub steps: usize,
}

impl Descent<'_> {
    /// How many of the starts, from the first on, have their paths recorded.
    pub fn recorded_starts(&self) -> usize {
        RECORDED_STARTS.min(self.starts.len())
    }
}

/// How a descent went.
pub struct Outcome {
    /// Positions of the recorded starts: all of them before the first step, then after each.
    pub history: Vec<[f32; 2]>,
    pub recorded_starts: usize,
    /// The steps that each start took to come [`NEAR`]; none if it did not.
    pub arrivals: Vec<Option<usize>>,
    pub elapsed: Duration,
}

impl Outcome {
    /// The path of a recorded start, as far as its numbers are finite.
    pub fn path(&self, start: usize) -> Vec<Point> {
        let positions = self.history.iter().skip(start).step_by(self.recorded_starts);
        positions
            .map(|position| position.map(f64::from))
            .take_while(|position| position.iter().all(|x| x.is_finite()))
            .collect()
    }

    /// The share of the starts that arrived.
    pub fn arrived(&self) -> f64 {
        self.arrivals.iter().flatten().count() as f64 / self.arrivals.len() as f64
    }

    /// The median of the steps of those that arrived.
    pub fn median_steps(&self) -> Option<usize> {
        let mut steps: Vec<usize> = self.arrivals.iter().flatten().copied().collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied()
    }
}

/// Starts that fill the square around the marked one evenly; the marked one comes first.
///
/// They are the R2 sequence (Roberts 2018), of which any first few fill the square evenly too. So the
/// paths to record are those of the first starts, and one copy takes them all.
pub fn starts(function: Function, count: usize) -> Vec<[f32; 2]> {
    /// The root of x³ = x + 1, the golden ratio of the plane.
    const PLASTIC: f64 = 1.324_717_957_244_746;
    let place = |index: usize| {
        let [x, y] = function.marked_start();
        let offset =
            |ratio: f64| function.spread() * (2.0 * (0.5 + index as f64 * ratio).fract() - 1.0);
        [x + offset(1.0 / PLASTIC), y + offset(1.0 / (PLASTIC * PLASTIC))].map(|x| x as f32)
    };
    (0..count).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_surround_the_marked_one() {
        let starts = starts(Function::Rosenbrock, 1000);
        assert_eq!(starts[0], [-1.2, 1.0]);
        for sign in [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]] {
            let quarter = starts
                .iter()
                .filter(|[x, y]| sign[0] * (x + 1.2) > 0.0 && sign[1] * (y - 1.0) > 0.0);
            assert!((240..=260).contains(&quarter.count()));
        }
    }

    #[test]
    fn medians_are_of_those_that_arrived() {
        let arrivals = vec![Some(30), None, Some(10), Some(20)];
        let outcome =
            Outcome { history: vec![], recorded_starts: 1, arrivals, elapsed: Duration::ZERO };
        assert_eq!(outcome.median_steps(), Some(20));
        assert_eq!(outcome.arrived(), 0.75);
    }
}
