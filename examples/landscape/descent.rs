//! A descent: its inputs and its results, the same on the GPU and on the CPU.

use crate::function::{Function, Point};
use std::time::Duration;
use wgpu_optim::DynRule;

/// A start has arrived when it is closer to the minimum than this.
pub const NEAR: f64 = 0.1;

/// Starts whose paths are recorded: the marked one, and some around it.
const RECORDED_STARTS: usize = 25;

/// The minimization of a function by a rule, from all starts at once.
pub struct Descent<'a> {
    pub function: Function,
    pub rule: Box<dyn DynRule>,
    pub starts: &'a [[f32; 2]],
    pub steps: usize,
}

impl Descent<'_> {
    /// The number of starts whose paths are recorded; they are the first ones.
    pub fn recorded_starts(&self) -> usize {
        RECORDED_STARTS.min(self.starts.len())
    }
}

/// The results of a descent.
pub struct Outcome {
    /// Positions of the recorded starts: before the first step, then after each step.
    pub history: Vec<[f32; 2]>,
    pub recorded_starts: usize,
    /// The number of steps until each start came [`NEAR`]; `None` if it did not.
    pub arrivals: Vec<Option<usize>>,
    pub elapsed: Duration,
}

impl Outcome {
    /// The path of a recorded start, up to the first number that is not finite.
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

    /// The median number of steps of the starts that arrived.
    pub fn median_steps(&self) -> Option<usize> {
        let mut steps: Vec<usize> = self.arrivals.iter().flatten().copied().collect();
        steps.sort_unstable();
        steps.get(steps.len() / 2).copied()
    }
}

/// Starts that are evenly distributed in the square around the marked one, which is the first.
///
/// They are the R2 sequence (Roberts 2018), whose first elements are evenly distributed too. So the
/// first starts are the ones to record, and one copy suffices for all of them.
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
    fn medians_are_over_the_starts_that_arrived() {
        let arrivals = vec![Some(30), None, Some(10), Some(20)];
        let outcome =
            Outcome { history: vec![], recorded_starts: 1, arrivals, elapsed: Duration::ZERO };
        assert_eq!(outcome.median_steps(), Some(20));
        assert_eq!(outcome.arrived(), 0.75);
    }
}
