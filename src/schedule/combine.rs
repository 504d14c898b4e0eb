//! The type of all schedules, schedules made of schedules, and closures.

use super::check::within;
use super::cosine::{CosineAnnealing, CosineAnnealingWarmRestarts};
use super::curve::Curve;
use super::cycle::{Cyclic, OneCycle};
use super::decay::{Constant, Exponential, InverseSqrt, Linear, MultiStep, Polynomial, Step};
use super::math::{line, times};
use crate::error::{Check, Error};
use std::fmt;
use std::sync::Arc;

macro_rules! schedules {
    ($($(#[$attribute:meta])* $name:ident,)*) => {
        /// A learning rate for every step, counted from 0. See the [module](crate::schedule) for an
        /// example.
        ///
        /// Made `from` one of the kinds, or of another schedule by one of the methods.
        #[derive(Debug, Clone, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[non_exhaustive]
        pub enum Schedule {
            $(
                #[doc = concat!("See [`struct@", stringify!($name), "`].")]
                $(#[$attribute])*
                $name($name),
            )*
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
    /// # let builder = CpuOptimizer::<f32>::builder().group(Adam::default(), [("w", 1)]);
    /// # let mut optimizer = builder.build()?;
    /// let schedule = Schedule::from(OneCycle::new(1e-2, 100));
    /// for step in 0..100 {
    ///     let mut adam = Adam { lr: schedule.lr(step), ..Default::default() };
    ///     adam.betas.0 = schedule.momentum(step).unwrap_or(adam.betas.0);
    ///     optimizer.set_rule(0, adam)?;
    ///     optimizer.step()?;
    /// }
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// Where it starts from 0, build [`SGD`](crate::SGD) and [`RMSprop`](crate::RMSprop) with
    /// `keep_momentum_buffer`: without it a momentum of 0 means that there is no buffer, and
    /// `set_rule` refuses another.
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

    /// This schedule from step `total_iters` on, after a straight line from `start_factor` of its
    /// first rate up to it. See [`WarmUp`].
    #[must_use]
    pub fn after_warm_up(self, start_factor: f64, total_iters: u64) -> Self {
        WarmUp { start_factor, total_iters, schedule: Box::new(self) }.into()
    }

    /// This schedule before step `milestone`, and the next one from there on, counted from its own
    /// step 0. See [`Sequential`].
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

/// A straight line up to a schedule's first rate, then the schedule from its step 0.
///
/// ```text
/// w        = total_iters
/// lr(step) = inner(0)·(start_factor + (1 − start_factor)·step/w)   for step < w
///            inner(step − w)                                      from there on
/// ```
///
/// PyTorch's `SequentialLR` of a `LinearLR` and the schedule at the milestone `total_iters`, and
/// timm's with `warmup_prefix`: the warm-up comes before the schedule's own steps, and a cosine of
/// 90 steps after a warm-up of 10 ends at step 100. To let it go over the schedule's first
/// steps instead, multiply them by a line: `schedule.times(Linear { lr: 1.0, start_factor,
/// end_factor: 1.0, total_iters })`.
///
/// Goyal et al., *Accurate, large minibatch SGD: training ImageNet in 1 hour*, 2017.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WarmUp {
    /// The factor at step 0, at least 0.
    pub start_factor: f64,
    /// Steps of the warm-up; with 0 there is none.
    pub total_iters: u64,
    /// What follows.
    pub schedule: Box<Schedule>,
}

impl Curve for WarmUp {
    fn lr(&self, step: u64) -> f64 {
        match step.checked_sub(self.total_iters) {
            Some(step) => self.schedule.lr(step),
            None => {
                let x = step as f64 / self.total_iters as f64;
                times(self.schedule.lr(0), line(self.start_factor, 1.0, x))
            }
        }
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        self.schedule.momentum(step.saturating_sub(self.total_iters))
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("WarmUp").rate("start_factor", self.start_factor).finish()?;
        within("WarmUp, schedule", self.schedule.validate())
    }
}

/// One schedule after the other, each counted from its own step 0.
///
/// ```text
/// lr(step) = schedules[0](step)                      for step < milestones[0]
///            schedules[i](step − milestones[i−1])    from milestones[i−1] up to milestones[i]
/// ```
///
/// PyTorch's `SequentialLR`.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sequential {
    /// The schedules, at least one.
    pub schedules: Vec<Schedule>,
    /// The step at which each begins but the first: one fewer, above 0, each larger than the one
    /// before.
    pub milestones: Vec<u64>,
}

impl Sequential {
    /// The schedule of a step, and its own step.
    fn at(&self, step: u64) -> Option<(&Schedule, u64)> {
        let index = self.milestones.partition_point(|&milestone| milestone <= step);
        let before = index.checked_sub(1).map_or(0, |previous| self.milestones[previous]);
        Some((self.schedules.get(index)?, step - before))
    }
}

impl Curve for Sequential {
    fn lr(&self, step: u64) -> f64 {
        // Without a schedule there is no rate; `validate` refuses that.
        self.at(step).map_or(f64::NAN, |(schedule, step)| schedule.lr(step))
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        self.at(step).and_then(|(schedule, step)| schedule.momentum(step))
    }
    fn validate(&self) -> Result<(), Error> {
        let milestones = || format!("{:?}", self.milestones);
        Check::new("Sequential")
            .that(
                self.schedules.len() == self.milestones.len().saturating_add(1),
                "milestones",
                "one fewer than schedules",
                format!("{} for {} schedules", self.milestones.len(), self.schedules.len()),
                "Give the step at which each schedule begins but the first",
            )
            .that(
                self.milestones.first() != Some(&0) && self.milestones.is_sorted_by(|a, b| a < b),
                "milestones",
                "above 0, each larger than the one before",
                milestones(),
                "Milestones count from the start of the run; leave out schedules that no step has",
            )
            .finish()?;
        for (index, schedule) in self.schedules.iter().enumerate() {
            within(&format!("Sequential, schedules[{index}]"), schedule.validate())?;
        }
        Ok(())
    }
}

/// The product of schedules. All but one usually have an `lr` of 1, which makes them factors.
///
/// ```text
/// lr(step) = schedules[0](step)·schedules[1](step)·…
/// ```
///
/// PyTorch's `ChainedScheduler`, where each schedule is a factor on the rate (cosines with an
/// `eta_min` are not). The momentum is the last schedule's that has one.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Product {
    /// The schedules, at least one.
    pub schedules: Vec<Schedule>,
}

impl Curve for Product {
    fn lr(&self, step: u64) -> f64 {
        self.schedules.iter().map(|schedule| schedule.lr(step)).fold(1.0, times)
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        self.schedules.iter().rev().find_map(|schedule| schedule.momentum(step))
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Product")
            .that(
                !self.schedules.is_empty(),
                "schedules",
                "at least one",
                "none",
                "Give the schedules to multiply",
            )
            .finish()?;
        for (index, schedule) in self.schedules.iter().enumerate() {
            within(&format!("Product, schedules[{index}]"), schedule.validate())?;
        }
        Ok(())
    }
}

/// A schedule times a number: a group's own share of the rate that all groups follow.
///
/// ```text
/// lr(step) = factor·schedule(step)
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Scaled {
    /// The number, at least 0.
    pub factor: f64,
    /// The schedule.
    pub schedule: Box<Schedule>,
}

impl Curve for Scaled {
    fn lr(&self, step: u64) -> f64 {
        times(self.factor, self.schedule.lr(step))
    }
    fn momentum(&self, step: u64) -> Option<f64> {
        self.schedule.momentum(step)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Scaled").rate("factor", self.factor).finish()?;
        within("Scaled, schedule", self.schedule.validate())
    }
}

/// A closure from the step to the rate; made by [`Schedule::custom`].
///
/// Two are equal if they are clones of one. It cannot be serialised: serde gives an error.
#[derive(Clone)]
pub struct Custom(Arc<dyn Fn(u64) -> f64 + Send + Sync>);

impl Custom {
    pub(super) fn new(lr: impl Fn(u64) -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(lr))
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Custom(..)")
    }
}

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Curve for Custom {
    fn lr(&self, step: u64) -> f64 {
        (self.0)(step)
    }
    fn validate(&self) -> Result<(), Error> {
        // What it gives at each step, the optimizer checks at that step.
        Ok(())
    }
}
