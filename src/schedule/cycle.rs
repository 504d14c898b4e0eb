//! Schedules that cycle the rate and, against it, the momentum.

use super::curve::Curve;
use super::math::{decayed, fraction, half_cosine, line};
use crate::error::{Check, Error};

/// How [`Cyclic`]'s cycles shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CyclicMode {
    /// Not at all.
    Triangular,
    /// To half from cycle to cycle.
    Triangular2,
    /// By `gamma` at every step.
    ExpRange,
}

/// Triangles between `base_lr` and `max_lr`.
///
/// ```text
/// u, d     = step_size_up, step_size_down
/// k, c     = ⌊step/(u + d)⌋, step mod (u + d)       the cycle, and the steps since it began
/// h        = c/u if c ≤ u, otherwise (u + d − c)/d
/// s        = 1 (triangular), 2^−k (triangular2) or gammaˢᵗᵉᵖ (exp_range)
/// lr(step) = base_lr + (max_lr − base_lr)·h·s
/// momentum = max_momentum − (max_momentum − base_momentum)·h·s
/// ```
///
/// PyTorch's `CyclicLR`. Smith, *Cyclical learning rates for training neural networks*, WACV 2017.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Cyclic {
    /// The rate that cycles begin and end with, at least 0.
    pub base_lr: f64,
    /// The largest rate, at least `base_lr`.
    pub max_lr: f64,
    /// Steps up, at least 1. Default 2000.
    pub step_size_up: u64,
    /// Steps down, at least 1, or as many as up. Default as many.
    pub step_size_down: Option<u64>,
    /// How the cycles shrink. Default triangular: not at all.
    pub mode: CyclicMode,
    /// What a step multiplies the height by in the mode `ExpRange`, in \[0, 1\]. Default 1.
    pub gamma: f64,
    /// Whether [`Schedule::momentum`](super::Schedule::momentum) tells one. Default true.
    pub cycle_momentum: bool,
    /// The momentum at the largest rate, in [0, 1) and at most `max_momentum`. Default 0.8. If it
    /// reaches 0, see `keep_momentum_buffer` of [`SGD`](crate::SGD).
    pub base_momentum: f64,
    /// The momentum at the smallest rate, in [0, 1). Default 0.9.
    pub max_momentum: f64,
}

impl Cyclic {
    /// Between these rates, with PyTorch's defaults.
    pub fn new(base_lr: f64, max_lr: f64) -> Self {
        Self {
            base_lr,
            max_lr,
            step_size_up: 2000,
            step_size_down: None,
            mode: CyclicMode::Triangular,
            gamma: 1.0,
            cycle_momentum: true,
            base_momentum: 0.8,
            max_momentum: 0.9,
        }
    }

    /// h·s, from 0 to 1.
    fn height(&self, step: u64) -> f64 {
        let up = u128::from(self.step_size_up);
        let down = u128::from(self.step_size_down.unwrap_or(self.step_size_up));
        let [cycle, since] = [u128::checked_div, u128::checked_rem]
            .map(|of| of(u128::from(step), up + down).unwrap_or(0));
        let height = if since <= up {
            fraction(since as f64, up as f64)
        } else {
            fraction((up + down - since) as f64, down as f64)
        };
        match self.mode {
            CyclicMode::Triangular => height,
            CyclicMode::Triangular2 => decayed(height, 0.5, cycle as u64),
            CyclicMode::ExpRange => decayed(height, self.gamma, step),
        }
    }
}

impl Curve for Cyclic {
    fn lr(&self, step: u64) -> f64 {
        line(self.base_lr, self.max_lr, self.height(step))
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        let momentum = || line(self.max_momentum, self.base_momentum, self.height(step));
        self.cycle_momentum.then(momentum)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Cyclic")
            .rate("base_lr", self.base_lr)
            .rate("max_lr", self.max_lr)
            .that(
                self.max_lr >= self.base_lr,
                "max_lr",
                "at least `base_lr`",
                self.max_lr,
                "Give the smaller rate as `base_lr`",
            )
            .steps("step_size_up", self.step_size_up)
            .steps("step_size_down", self.step_size_down.unwrap_or(1))
            .that(
                (0.0..=1.0).contains(&self.gamma),
                "gamma",
                "in [0, 1]",
                self.gamma,
                "Give what a step leaves of the cycle's height, such as 0.9999",
            )
            .momenta(self.base_momentum, self.max_momentum)
            .finish()
    }
}

/// The form of [`OneCycle`]'s phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AnnealStrategy {
    /// Half a cosine.
    Cos,
    /// A straight line.
    Linear,
}

/// One cycle over the whole run: up to `max_lr`, then far below where it began.
///
/// ```text
/// initial_lr = max_lr/div_factor,   min_lr = initial_lr/final_div_factor
///
///                     up to step                        the rate goes to     the momentum to
/// at step 0                                             initial_lr           max_momentum
/// first phase         pct_start·total_steps − 1         max_lr               base_momentum
/// with three_phase    2·(pct_start·total_steps − 1)     initial_lr           max_momentum
/// last phase          total_steps − 1                   min_lr               max_momentum
/// ```
///
/// Between two of them it goes by half a cosine or a straight line. PyTorch's `OneCycleLR`, but
/// that steps from `total_steps` on keep the last rate, where PyTorch raises an error. Smith and
/// Topin, *Super-convergence: very fast training of neural networks using large learning rates*,
/// 2019.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OneCycle {
    /// The largest rate, at least 0.
    pub max_lr: f64,
    /// Steps of the run, at least 1.
    pub total_steps: u64,
    /// The share of the steps that go up, in \[0, 1\]. Default 0.3.
    pub pct_start: f64,
    /// The form of the phases. Default the cosine.
    pub anneal_strategy: AnnealStrategy,
    /// Whether [`Schedule::momentum`](super::Schedule::momentum) tells one. Default true.
    pub cycle_momentum: bool,
    /// The momentum at the largest rate, in [0, 1) and at most `max_momentum`. Default 0.85. If it
    /// reaches 0, see `keep_momentum_buffer` of [`SGD`](crate::SGD).
    pub base_momentum: f64,
    /// The momentum at both ends, in [0, 1). Default 0.95.
    pub max_momentum: f64,
    /// The largest rate over the first, above 0. Default 25.
    pub div_factor: f64,
    /// The first rate over the last, above 0. Default 1e4.
    pub final_div_factor: f64,
    /// Come down as slowly as up before going further down. Default false.
    pub three_phase: bool,
}

impl OneCycle {
    /// Up to this rate within so many steps, with PyTorch's defaults.
    pub fn new(max_lr: f64, total_steps: u64) -> Self {
        Self {
            max_lr,
            total_steps,
            pct_start: 0.3,
            anneal_strategy: AnnealStrategy::Cos,
            cycle_momentum: true,
            base_momentum: 0.85,
            max_momentum: 0.95,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }

    /// A value that begins, peaks (be it upwards or downwards) and ends with these.
    fn value(&self, step: u64, [begin, peak, end]: [f64; 3]) -> f64 {
        let last = self.total_steps.saturating_sub(1);
        let step = step.min(last) as f64;
        // Not a whole number of steps; as in PyTorch, it is not rounded.
        let top = self.pct_start * self.total_steps as f64 - 1.0;
        let (mut from, mut start) = (begin, 0.0);
        let middle = self.three_phase.then_some((2.0 * top, begin));
        for (until, to) in [(top, peak)].into_iter().chain(middle) {
            if step <= until {
                return self.anneal(from, to, fraction(step - start, until - start));
            }
            (from, start) = (to, until);
        }
        self.anneal(from, end, fraction(step - start, last as f64 - start))
    }

    fn anneal(&self, from: f64, to: f64, x: f64) -> f64 {
        match self.anneal_strategy {
            AnnealStrategy::Cos => line(to, from, half_cosine(1.0 - x)),
            AnnealStrategy::Linear => line(from, to, x),
        }
    }
}

impl Curve for OneCycle {
    fn lr(&self, step: u64) -> f64 {
        let initial = self.max_lr / self.div_factor;
        self.value(step, [initial, self.max_lr, initial / self.final_div_factor])
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        let (base, max) = (self.base_momentum, self.max_momentum);
        self.cycle_momentum.then(|| self.value(step, [max, base, max]))
    }
    fn validate(&self) -> Result<(), Error> {
        let initial = self.max_lr / self.div_factor;
        let quotients = [initial, initial / self.final_div_factor];
        Check::new("OneCycle")
            .rate("max_lr", self.max_lr)
            .steps("total_steps", self.total_steps)
            .that(
                (0.0..=1.0).contains(&self.pct_start),
                "pct_start",
                "in [0, 1]",
                self.pct_start,
                "Give the share of the steps that go up, such as 0.3",
            )
            .momenta(self.base_momentum, self.max_momentum)
            .divisor("div_factor", self.div_factor)
            .divisor("final_div_factor", self.final_div_factor)
            .that(
                quotients.iter().all(|rate| rate.is_finite()),
                "div_factor",
                "such that the first and the last rate are finite",
                self.div_factor,
                "Give divisors of about 1 or more",
            )
            .finish()
    }
}
