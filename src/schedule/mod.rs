//! Learning-rate schedules, on the host and in f64.
//!
//! A [`Schedule`] is a pure function of the step, counted from 0: `schedule.lr(step)` is the rate of
//! the step-th step. Nothing is remembered between steps, so that a resumed run needs the step's number and
//! no more. (The exception is [`ReduceOnPlateau`], which learns from a metric.) A schedule knows no optimizer:
//! its numbers go to the `set_lr` of a group, on the GPU and on the CPU alike.
//!
//! # A training loop
//!
//! A warm-up of 10 steps and a cosine over the 90 that follow, for two groups, the second at a tenth of
//! the first one's rate:
//!
//! ```
//! use wgpu_optim::schedule::{CosineAnnealing, Schedule};
//! use wgpu_optim::{AdamW, CpuOptimizer};
//!
//! let cosine = CosineAnnealing { lr: 0.1, t_max: 90, eta_min: 1e-3 };
//! let body = Schedule::from(cosine).after_warm_up(0.01, 10);
//! let schedules = [body.clone(), body.scaled(0.1)];
//! for schedule in &schedules {
//!     schedule.validate()?;
//! }
//!
//! let mut optimizer = CpuOptimizer::<f32>::builder()
//!     .group(AdamW::default(), [("body", 1)])
//!     .group(AdamW { weight_decay: 0.0, ..Default::default() }, [("head", 1)])
//!     .build()?;
//! optimizer.set_param("body", &[1.0])?;
//! optimizer.set_param("head", &[1.0])?;
//! for step in 0..100 {
//!     for (group, schedule) in schedules.iter().enumerate() {
//!         optimizer.set_lr(group, schedule.lr(step))?;
//!     }
//!     for name in ["body", "head"] {
//!         let p = optimizer.param(name)?[0];
//!         optimizer.set_grad(name, &[2.0 * p])?; // the gradient of p²
//!     }
//!     optimizer.step()?;
//! }
//! assert!(optimizer.param("body")?[0].abs() < 0.1);
//! # Ok::<(), wgpu_optim::Error>(())
//! ```
//!
//! # From PyTorch
//!
//! Fields have PyTorch's names, and `new` its defaults. The tests hold each schedule to PyTorch's own numbers:
//! `lr(step)` is `get_last_lr()` after `step` calls of `scheduler.step()`, to rounding. (PyTorch computes most
//! rates from the one before, and its rounding errors add up; here each step has a formula.)
//!
//! | `torch.optim.lr_scheduler` | here |
//! |---|---|
//! | `ConstantLR` | [`Constant`], without its fields `factor` and `total_iters` by [`Constant::new`] |
//! | `LinearLR`, `ExponentialLR`, `PolynomialLR` | [`Linear`], [`Exponential`], [`Polynomial`] |
//! | `StepLR`, `MultiStepLR` | [`Step`], [`MultiStep`] |
//! | `CosineAnnealingLR`, `CosineAnnealingWarmRestarts` | [`CosineAnnealing`], [`CosineAnnealingWarmRestarts`] |
//! | `CyclicLR`, `OneCycleLR` | [`Cyclic`], [`OneCycle`], with the momentum by [`Schedule::momentum`] |
//! | `SequentialLR` | [`Sequential`], by [`Schedule::then`] |
//! | `SequentialLR` of a `LinearLR` and another | [`WarmUp`], by [`Schedule::after_warm_up`] |
//! | `ChainedScheduler` | [`Product`], by [`Schedule::times`] |
//! | `LambdaLR` | [`Custom`], by [`Schedule::custom`]; the transformer's: [`InverseSqrt`] |
//! | one `lr` for each of `param_groups` | a schedule for each group; [`Scaled`], by [`Schedule::scaled`] |
//! | `ReduceLROnPlateau` | [`ReduceOnPlateau`] |
//!
//! # Ranges
//!
//! [`Schedule::validate`] tells values out of range by name; call it once. For a schedule that passes it, no step
//! up to `u64::MAX` gives a NaN or a rate below 0. One that does not never panics either: its rate is then any number,
//! and `set_lr` refuses what is no rate.
//!
//! # Saving
//!
//! With the feature `serde`, all types here serialise and deserialise, [`Custom`] excepted, which gives an error.
//! A schedule that comes from a file wants `validate` too. JSON keeps all bits of an f64 if `serde_json` has its
//! feature `float_roundtrip`.

mod check;
mod combine;
mod cosine;
mod cycle;
mod decay;
mod math;
mod plateau;

pub use combine::{Custom, Product, Scaled, Sequential, WarmUp};
pub use cosine::{CosineAnnealing, CosineAnnealingWarmRestarts};
pub use cycle::{AnnealStrategy, Cyclic, CyclicMode, OneCycle};
pub use decay::{Constant, Exponential, InverseSqrt, Linear, MultiStep, Polynomial, Step};
pub use plateau::{PlateauMode, ReduceOnPlateau, ThresholdMode};

use crate::error::Error;

/// What every kind of schedule tells.
trait Curve {
    fn lr(&self, step: u64) -> f64;
    /// A momentum that belongs to the rate, for those that cycle one.
    fn momentum(&self, _step: u64) -> Option<f64> {
        None
    }
    fn validate(&self) -> Result<(), Error>;
}

macro_rules! schedules {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        /// A learning rate for every step, counted from 0. See the [module](self) for an example.
        ///
        /// Made `from` one of the kinds, or of another schedule by one of the methods.
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum Schedule {
            $(#[doc = concat!("See [`struct@", stringify!($name), "`].")] $(#[$attribute])* $name($name),)*
        }

        impl Schedule {
            fn curve(&self) -> &dyn Curve {
                match self {
                    $(Self::$name(curve) => curve,)*
                }
            }
        }

        $(impl From<$name> for Schedule {
            fn from(curve: $name) -> Self {
                Self::$name(curve)
            }
        })*
    };
}

schedules! {
    Constant,
    Linear,
    Exponential,
    Step,
    MultiStep,
    Polynomial,
    InverseSqrt,
    CosineAnnealing,
    CosineAnnealingWarmRestarts,
    Cyclic,
    OneCycle,
    WarmUp,
    Sequential,
    Product,
    Scaled,
    #[cfg_attr(feature = "serde", serde(skip))]
    Custom,
}

impl Schedule {
    /// The rate of this step, the first being 0.
    pub fn lr(&self, step: u64) -> f64 {
        self.curve().lr(step)
    }

    /// The momentum of this step, if the schedule cycles one: [`Cyclic`] and [`OneCycle`] do.
    ///
    /// It goes where PyTorch puts it, into SGD's `momentum` or Adam's first beta:
    ///
    /// ```
    /// # use wgpu_optim::{Adam, CpuOptimizer};
    /// # use wgpu_optim::schedule::{OneCycle, Schedule};
    /// # let mut optimizer = CpuOptimizer::<f32>::builder().group(Adam::default(), [("w", 1)]).build()?;
    /// let schedule = Schedule::from(OneCycle::new(1e-2, 100));
    /// for step in 0..100 {
    ///     let mut adam = Adam { lr: schedule.lr(step), ..Default::default() };
    ///     adam.betas.0 = schedule.momentum(step).unwrap_or(adam.betas.0);
    ///     optimizer.set_rule(0, adam)?;
    ///     optimizer.step()?;
    /// }
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    pub fn momentum(&self, step: u64) -> Option<f64> {
        self.curve().momentum(step)
    }

    /// Checks all values, those of parts included.
    ///
    /// # Errors
    /// One is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.curve().validate()
    }

    /// A closure from the step to the rate. It cannot be serialised.
    ///
    /// ```
    /// use wgpu_optim::schedule::Schedule;
    /// let schedule = Schedule::custom(|step| 0.1 / (1.0 + step as f64)).after_warm_up(0.0, 5);
    /// assert_eq!(schedule.lr(6), 0.05);
    /// ```
    pub fn custom(lr: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Custom::new(lr).into()
    }

    /// This schedule from step `total_iters` on, after a straight line from `start_factor` of its first rate
    /// up to it. See [`WarmUp`].
    #[must_use]
    pub fn after_warm_up(self, start_factor: f64, total_iters: u64) -> Self {
        WarmUp { start_factor, total_iters, schedule: Box::new(self) }.into()
    }

    /// This schedule before step `milestone`, and the next one from there on, counted from its own step 0.
    /// See [`Sequential`].
    ///
    /// ```
    /// use wgpu_optim::schedule::{Constant, Polynomial, Schedule};
    /// let schedule = Schedule::from(Constant::new(0.1)).then(50, Polynomial::new(0.1, 100));
    /// assert_eq!([0, 50, 100, 150].map(|step| schedule.lr(step)), [0.1, 0.1, 0.05, 0.0]);
    /// ```
    #[must_use]
    pub fn then(self, milestone: u64, next: impl Into<Self>) -> Self {
        // A third schedule joins the first two; its milestone counts from the start as theirs do.
        let mut joined = match self {
            Self::Sequential(joined) => joined,
            other => Sequential { schedules: vec![other], milestones: vec![] },
        };
        joined.schedules.push(next.into());
        joined.milestones.push(milestone);
        joined.into()
    }

    /// This schedule times another one, both at the same step. See [`Product`].
    #[must_use]
    pub fn times(self, other: impl Into<Self>) -> Self {
        let mut product = match self {
            Self::Product(product) => product,
            first => Product { schedules: vec![first] },
        };
        product.schedules.push(other.into());
        product.into()
    }

    /// This schedule times a number. See [`Scaled`].
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Scaled { factor, schedule: Box::new(self) }.into()
    }
}
