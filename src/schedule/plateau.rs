//! The one schedule that has a memory.

use crate::error::{Check, Error};

/// Whether [`ReduceOnPlateau`]'s metric is to fall or rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PlateauMode {
    /// Smaller is better, as with a loss.
    Min,
    /// Larger is better, as with an accuracy.
    Max,
}

/// What [`ReduceOnPlateau`]'s threshold is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ThresholdMode {
    /// A share of the best metric so far.
    Rel,
    /// The metric's own unit.
    Abs,
}

/// Times `factor` when a metric has stopped improving.
///
/// A metric is better than the best so far if it is
///
/// ```text
///        rel                          abs
/// min    < best·(1 − threshold)       < best − threshold
/// max    > best·(1 + threshold)       > best + threshold
/// ```
///
/// and NaN never is. After more than `patience` metrics in a row that are not, the rate becomes
/// max(factor·lr, min_lr), unless that is a change of no more than `eps`. Then `cooldown` metrics
/// are not counted.
///
/// PyTorch's `ReduceLROnPlateau`, with its defaults. As there, `Rel` is meant for metrics above 0.
///
/// ```
/// use wgpu_optim::schedule::ReduceOnPlateau;
/// let mut plateau = ReduceOnPlateau { patience: 1, ..ReduceOnPlateau::new(0.1) };
/// plateau.validate()?;
/// assert_eq!(plateau.observe(3.0), 0.1); // the first is the best so far
/// assert_eq!(plateau.observe(4.0), 0.1); // patience
/// assert!((plateau.observe(3.5) - 0.01).abs() < 1e-15);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
///
/// All of it is plain data, memory included: save it, load it, go on. With an `lr` of 1 it is a
/// factor on any [`Schedule`](super::Schedule): `schedule.lr(step) * plateau.lr`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReduceOnPlateau {
    /// The present rate, at least 0.
    pub lr: f64,
    /// Whether the metric is to fall or rise. Default `Min`.
    pub mode: PlateauMode,
    /// What the rate is multiplied by, in [0, 1). Default 0.1.
    pub factor: f64,
    /// Metrics in a row that need not be better. Default 10.
    pub patience: u64,
    /// By how much a metric must be better to count as such, at least 0; with `Rel` below 1.
    /// Default 1e-4.
    pub threshold: f64,
    /// What the threshold is measured by. Default `Rel`.
    pub threshold_mode: ThresholdMode,
    /// Metrics that do not count after a change. Default 0.
    pub cooldown: u64,
    /// The smallest rate, at least 0. Default 0.
    pub min_lr: f64,
    /// A change of the rate by no more than this is not made, at least 0. Default 1e-8.
    pub eps: f64,
    /// Memory: the best metric so far; none at first.
    pub best: Option<f64>,
    /// Memory: metrics in a row that were not better.
    pub num_bad_epochs: u64,
    /// Memory: metrics that still do not count.
    pub cooldown_counter: u64,
}

impl ReduceOnPlateau {
    /// From this rate, with PyTorch's defaults.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            mode: PlateauMode::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
            best: None,
            num_bad_epochs: 0,
            cooldown_counter: 0,
        }
    }

    /// Takes a metric, such as an epoch's validation loss, and gives the rate from then on.
    pub fn observe(&mut self, metric: f64) -> f64 {
        if self.is_better(metric) {
            self.best = Some(metric);
            self.num_bad_epochs = 0;
        } else {
            self.num_bad_epochs = self.num_bad_epochs.saturating_add(1);
        }
        if self.cooldown_counter > 0 {
            self.cooldown_counter -= 1;
            self.num_bad_epochs = 0;
        }
        if self.num_bad_epochs > self.patience {
            self.reduce();
            self.cooldown_counter = self.cooldown;
            self.num_bad_epochs = 0;
        }
        self.lr
    }

    fn is_better(&self, metric: f64) -> bool {
        use PlateauMode::{Max, Min};
        use ThresholdMode::{Abs, Rel};
        match (self.mode, self.threshold_mode, self.best) {
            (Min, _, None) => metric < f64::INFINITY,
            (Max, _, None) => metric > f64::NEG_INFINITY,
            (Min, Rel, Some(best)) => metric < best * (1.0 - self.threshold),
            (Min, Abs, Some(best)) => metric < best - self.threshold,
            (Max, Rel, Some(best)) => metric > best * (1.0 + self.threshold),
            (Max, Abs, Some(best)) => metric > best + self.threshold,
        }
    }

    fn reduce(&mut self) {
        let lr = (self.lr * self.factor).max(self.min_lr);
        if self.lr - lr > self.eps {
            self.lr = lr;
        }
    }

    /// Checks all values.
    ///
    /// # Errors
    /// One is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let relative = self.threshold_mode == ThresholdMode::Rel;
        Check::new("ReduceOnPlateau")
            .rate("lr", self.lr)
            .that(
                (0.0..1.0).contains(&self.factor),
                "factor",
                "in [0, 1)",
                self.factor,
                "Give what is left of the rate after a plateau, such as 0.1",
            )
            .that(
                self.threshold.is_finite() && self.threshold >= 0.0,
                "threshold",
                "a finite number of at least 0",
                self.threshold,
                "Give by how much a metric must be better to count, such as 1e-4",
            )
            .that(
                !relative || self.threshold < 1.0,
                "threshold",
                "below 1 with `ThresholdMode::Rel`",
                self.threshold,
                "Give a share of the best metric, or set `threshold_mode` to `Abs`",
            )
            .rate("min_lr", self.min_lr)
            .rate("eps", self.eps)
            .that(
                !self.best.is_some_and(f64::is_nan),
                "best",
                "a number or `None`",
                "NaN",
                "Set it to `None` to begin anew",
            )
            .finish()
    }
}
