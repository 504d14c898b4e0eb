//! Cosine annealing, with and without warm restarts.

use super::curve::Curve;
use super::math::{fraction, half_cosine, line};
use crate::error::{Check, Error};

/// Half a cosine from `lr` at step 0 to `eta_min` at step `t_max`.
///
/// ```text
/// lr(step) = eta_min + (lr − eta_min)·(1 + cos(π·step/t_max))/2
/// ```
///
/// PyTorch's `CosineAnnealingLR`, its periodicity included: **after `t_max` the rate goes up
/// again**, and is `lr` at 2·`t_max`. To stay at the bottom, go on with a constant:
///
/// ```
/// use wgpu_optim::schedule::{Constant, CosineAnnealing, Schedule};
/// let cosine = CosineAnnealing { lr: 0.1, t_max: 100, eta_min: 0.01 };
/// let schedule = Schedule::from(cosine).then(100, Constant::new(0.01));
/// assert_eq!(schedule.lr(100), 0.01);
/// assert_eq!(schedule.lr(200), 0.01);
/// ```
///
/// Loshchilov and Hutter, *SGDR: stochastic gradient descent with warm restarts*, ICLR 2017.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CosineAnnealing {
    /// The rate of step 0, at least 0.
    pub lr: f64,
    /// Steps down to `eta_min`, at least 1.
    pub t_max: u64,
    /// The rate of step `t_max`, at least 0. PyTorch's default is 0.
    pub eta_min: f64,
}

impl CosineAnnealing {
    /// From this rate down to 0.
    pub fn new(lr: f64, t_max: u64) -> Self {
        Self { lr, t_max, eta_min: 0.0 }
    }
}

impl Curve for CosineAnnealing {
    fn lr(&self, step: u64) -> f64 {
        // A period that overflows is longer than any step.
        let period = self.t_max.checked_mul(2);
        let phase = period.and_then(|period| step.checked_rem(period)).unwrap_or(step);
        // As far before or after `t_max`, the cosine is the same.
        let left = fraction(phase.abs_diff(self.t_max) as f64, self.t_max as f64);
        line(self.eta_min, self.lr, half_cosine(left))
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("CosineAnnealing")
            .rate("lr", self.lr)
            .steps("t_max", self.t_max)
            .rate("eta_min", self.eta_min)
            .finish()
    }
}

/// Cosine annealing that jumps back to `lr` when it has come down; each period is `t_mult` times as
/// long as the one before.
///
/// ```text
/// Tᵢ       = t_0·t_multⁱ                        the length of period i = 0, 1, …
/// c        = steps since the period began
/// lr(step) = eta_min + (lr − eta_min)·(1 + cos(π·c/Tᵢ))/2
/// ```
///
/// PyTorch's `CosineAnnealingWarmRestarts`. Loshchilov and Hutter, *SGDR: stochastic gradient
/// descent with warm restarts*, ICLR 2017.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CosineAnnealingWarmRestarts {
    /// The rate that every period begins with, at least 0.
    pub lr: f64,
    /// Steps of the first period, at least 1.
    pub t_0: u64,
    /// How many times as long the next period is, at least 1. PyTorch's default is 1.
    pub t_mult: u64,
    /// What a period comes down to, at least 0. PyTorch's default is 0.
    pub eta_min: f64,
}

impl CosineAnnealingWarmRestarts {
    /// Periods of one length, each from this rate down to 0.
    pub fn new(lr: f64, t_0: u64) -> Self {
        Self { lr, t_0, t_mult: 1, eta_min: 0.0 }
    }

    /// Steps since the present period began, and its length.
    ///
    /// In u128, since the last period may be longer than a u64 can tell.
    fn period(&self, step: u64) -> (u128, u128) {
        let (mut since, mut length) = (u128::from(step), u128::from(self.t_0));
        if self.t_mult <= 1 || length == 0 {
            return (since.checked_rem(length).unwrap_or(0), length);
        }
        // Lengths at least double: there are fewer than 65.
        while since >= length {
            since -= length;
            length *= u128::from(self.t_mult);
        }
        (since, length)
    }
}

impl Curve for CosineAnnealingWarmRestarts {
    fn lr(&self, step: u64) -> f64 {
        let (since, length) = self.period(step);
        let left = fraction((length - since) as f64, length as f64);
        line(self.eta_min, self.lr, half_cosine(left))
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("CosineAnnealingWarmRestarts")
            .rate("lr", self.lr)
            .steps("t_0", self.t_0)
            .that(
                self.t_mult >= 1,
                "t_mult",
                "at least 1",
                self.t_mult,
                "Give how many times as long the next period is, 1 for the same length",
            )
            .rate("eta_min", self.eta_min)
            .finish()
    }
}
