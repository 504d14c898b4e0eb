//! Schedules that go one way: constant, by lines, by powers, by roots.

use super::curve::Curve;
use super::math::{decayed, fraction, line, times};
use crate::error::{Check, Error};

/// The same rate at every step; or `factor·lr` before step `total_iters` and `lr` from there on.
///
/// ```text
/// lr(step) = factor·lr   for step < total_iters
///            lr          from there on
/// ```
///
/// PyTorch's `ConstantLR`, whose defaults are a factor of 1/3 for 5 steps.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Constant {
    /// The rate, at least 0.
    pub lr: f64,
    /// What the rate is multiplied by at first, at least 0.
    pub factor: f64,
    /// Steps with the factor, 0 or more.
    pub total_iters: u64,
}

impl Constant {
    /// This rate at every step.
    pub fn new(lr: f64) -> Self {
        Self { lr, factor: 1.0, total_iters: 0 }
    }
}

impl Curve for Constant {
    fn lr(&self, step: u64) -> f64 {
        if step < self.total_iters { self.lr * self.factor } else { self.lr }
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Constant").rate("lr", self.lr).rate("factor", self.factor).finish()
    }
}

/// A straight line from `start_factor·lr` at step 0 to `end_factor·lr` at step `total_iters`, and
/// flat from there on.
///
/// ```text
/// x        = min(step, total_iters)/total_iters
/// lr(step) = lr·(start_factor + (end_factor − start_factor)·x)
/// ```
///
/// PyTorch's `LinearLR`, but that both factors may be any: its are in (0, 1] and \[0, 1\].
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Linear {
    /// The rate that the factors are of, at least 0.
    pub lr: f64,
    /// The factor at step 0, at least 0. PyTorch's default is 1/3.
    pub start_factor: f64,
    /// The factor from step `total_iters` on, at least 0. PyTorch's default is 1.
    pub end_factor: f64,
    /// The step that the line ends at, at least 1. PyTorch's default is 5.
    pub total_iters: u64,
}

impl Linear {
    /// From a third of the rate to all of it, as PyTorch's defaults.
    pub fn new(lr: f64, total_iters: u64) -> Self {
        Self { lr, start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters }
    }
}

impl Curve for Linear {
    fn lr(&self, step: u64) -> f64 {
        let x = fraction(step.min(self.total_iters) as f64, self.total_iters as f64);
        self.lr * line(self.start_factor, self.end_factor, x)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Linear")
            .rate("lr", self.lr)
            .rate("start_factor", self.start_factor)
            .rate("end_factor", self.end_factor)
            .steps("total_iters", self.total_iters)
            .finish()
    }
}

/// Times `gamma` at every step.
///
/// ```text
/// lr(step) = lr·gammaˢᵗᵉᵖ
/// ```
///
/// PyTorch's `ExponentialLR`. A `gamma` above 1 is the sweep of a learning-rate range test (Smith,
/// *Cyclical learning rates for training neural networks*, WACV 2017); it ends at infinity, which
/// the optimizer refuses.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Exponential {
    /// The rate of step 0, at least 0.
    pub lr: f64,
    /// What a step multiplies it by, at least 0.
    pub gamma: f64,
}

impl Exponential {
    /// From this rate, times `gamma` at every step.
    pub fn new(lr: f64, gamma: f64) -> Self {
        Self { lr, gamma }
    }
}

impl Curve for Exponential {
    fn lr(&self, step: u64) -> f64 {
        decayed(self.lr, self.gamma, step)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Exponential").rate("lr", self.lr).rate("gamma", self.gamma).finish()
    }
}

/// Times `gamma` at every `step_size`-th step.
///
/// ```text
/// lr(step) = lr·gammaᵏ,  k = ⌊step/step_size⌋
/// ```
///
/// PyTorch's `StepLR`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Step {
    /// The rate of step 0, at least 0.
    pub lr: f64,
    /// Steps from one change to the next, at least 1.
    pub step_size: u64,
    /// What a change multiplies the rate by, at least 0. PyTorch's default is 0.1.
    pub gamma: f64,
}

impl Step {
    /// A tenth of the rate every `step_size` steps.
    pub fn new(lr: f64, step_size: u64) -> Self {
        Self { lr, step_size, gamma: 0.1 }
    }
}

impl Curve for Step {
    fn lr(&self, step: u64) -> f64 {
        decayed(self.lr, self.gamma, step.checked_div(self.step_size).unwrap_or(0))
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Step")
            .rate("lr", self.lr)
            .steps("step_size", self.step_size)
            .rate("gamma", self.gamma)
            .finish()
    }
}

/// Times `gamma` at each of the milestones.
///
/// ```text
/// lr(step) = lr·gammaᵏ,  k = how many milestones are ≤ step
/// ```
///
/// PyTorch's `MultiStepLR`: the milestones may come in any order, and one that comes twice counts
/// twice.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MultiStep {
    /// The rate before the first milestone, at least 0.
    pub lr: f64,
    /// The steps at which the rate changes.
    pub milestones: Vec<u64>,
    /// What a change multiplies the rate by, at least 0. PyTorch's default is 0.1.
    pub gamma: f64,
}

impl MultiStep {
    /// A tenth of the rate at each milestone.
    pub fn new(lr: f64, milestones: impl Into<Vec<u64>>) -> Self {
        Self { lr, milestones: milestones.into(), gamma: 0.1 }
    }
}

impl Curve for MultiStep {
    fn lr(&self, step: u64) -> f64 {
        let passed = self.milestones.iter().filter(|&&milestone| milestone <= step).count();
        decayed(self.lr, self.gamma, passed as u64)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("MultiStep").rate("lr", self.lr).rate("gamma", self.gamma).finish()
    }
}

/// Down to 0 at step `total_iters` by a power of what is left: a straight line for a `power` of 1.
///
/// ```text
/// lr(step) = lr·(1 − min(step, total_iters)/total_iters)ᵖᵒʷᵉʳ
/// ```
///
/// PyTorch's `PolynomialLR`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Polynomial {
    /// The rate of step 0, at least 0.
    pub lr: f64,
    /// The step from which the rate is 0, at least 1. PyTorch's default is 5.
    pub total_iters: u64,
    /// The power, at least 0. PyTorch's default is 1.
    pub power: f64,
}

impl Polynomial {
    /// A straight line down to 0.
    pub fn new(lr: f64, total_iters: u64) -> Self {
        Self { lr, total_iters, power: 1.0 }
    }
}

impl Curve for Polynomial {
    fn lr(&self, step: u64) -> f64 {
        let left = self.total_iters.saturating_sub(step);
        self.lr * fraction(left as f64, self.total_iters as f64).powf(self.power)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Polynomial")
            .rate("lr", self.lr)
            .steps("total_iters", self.total_iters)
            .rate("power", self.power)
            .finish()
    }
}

/// The inverse square root of the step, after a warm-up by a straight line: the transformer's
/// schedule, also called Noam.
///
/// ```text
/// t        = step + 1
/// lr(step) = lr·min(t/warmup_steps, √(warmup_steps/t))
/// ```
///
/// The peak is `lr`, at t = `warmup_steps`. Vaswani et al., *Attention is all you need*, NeurIPS
/// 2017; their parameters are those of [`InverseSqrt::noam`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InverseSqrt {
    /// The largest rate, at least 0.
    pub lr: f64,
    /// Steps up to it, at least 1; with 1 there is no warm-up.
    pub warmup_steps: u64,
}

impl InverseSqrt {
    /// Up to this rate in `warmup_steps` steps, then down.
    pub fn new(lr: f64, warmup_steps: u64) -> Self {
        Self { lr, warmup_steps }
    }

    /// The paper's form, `factor·d_model^−½·min(t^−½, t·warmup_steps^−3⁄2)`.
    pub fn noam(factor: f64, d_model: u64, warmup_steps: u64) -> Self {
        Self { lr: factor / (d_model as f64 * warmup_steps as f64).sqrt(), warmup_steps }
    }
}

impl Curve for InverseSqrt {
    fn lr(&self, step: u64) -> f64 {
        // In floats, where step + 1 cannot overflow.
        let (t, warmup) = (step as f64 + 1.0, self.warmup_steps as f64);
        times(self.lr, if t < warmup { t / warmup } else { (warmup / t).sqrt() })
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("InverseSqrt")
            .rate("lr", self.lr)
            .steps("warmup_steps", self.warmup_steps)
            .finish()
    }
}
