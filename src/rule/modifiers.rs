//! What a group asks for after any rule's update: kinds of weight decay, masks, bounds, averages of
//! the weights. Plain data.

use crate::error::{Check, Error};
use crate::rule::hyperparameters::Hyperparameter;

/// What happens around any rule, a user's own too, in the rule's own kernel. By default nothing,
/// and what is not asked for is in no kernel.
///
/// ```
/// use wgpu_optim::{AdamW, Average, CpuOptimizer, Modifiers};
/// let modifiers = Modifiers {
///     cautious: true,
///     average: Some(Average::ema(0.999)),
///     ..Default::default()
/// };
/// let mut optimizer = CpuOptimizer::<f32>::builder()
///     .group(modifiers.on(AdamW::default()), [("w", 2)])
///     .build()?;
/// optimizer.set_grad("w", &[1.0, -1.0])?;
/// optimizer.step()?;
/// assert_eq!(optimizer.state("w", "average")?.len(), 2);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
///
/// They act in this order: the tensor's gradient is clipped; the rule takes its step, from p to p';
/// its update u = p − p' is masked and clipped, and subtracted; the parameter decays, is held
/// within its bounds, moves to its slow copy; and is averaged.
///
/// Steps are the parameter's own: one that was skipped, or that found it frozen, moves no average
/// and counts for none, unlike in libraries whose averages a training loop updates itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Modifiers {
    /// Weight decay of another kind than the rule's own, which must be 0 then.
    pub decay: Option<Decay>,
    /// Masks the update where it disagrees in sign with the gradient, as unscaled, clipped and, to
    /// ascend, negated, but without coupled decay; multiplies the rest by 1/max(share, 1e-3), with
    /// the share of the tensor's elements that agree (Liang et al. 2024, as timm has it). Zeros
    /// disagree. States and decay are not masked. An update so small that p − p' rounds to 0
    /// counts as 0.
    pub cautious: bool,
    /// Holds the root of the mean square of u/lr of each tensor to this: u is divided by
    /// max(1, RMS(u/lr)/d). This is Adafactor's d for rules whose step is lr times a direction. It
    /// is not torch-optimi's StableAdamW, which takes the RMS of g/√v, and shrinks the decay too.
    pub clip_update: Option<f64>,
    /// Multiplies each tensor's gradient by min(1, this/‖g‖), with its own norm, as Burn's
    /// `GradientClipping::Norm` does. It comes after unscaling and clipping by the norm of all, and
    /// before clipping by value and coupled decay.
    pub clip_grad_tensor: Option<f64>,
    /// The smallest and the largest number that an element may be after the step. One of them may
    /// be infinite.
    pub bounds: Option<(f64, f64)>,
    /// Keeps an average of the parameter in f32, the state `average`.
    pub average: Option<Average>,
    /// Keeps a slow copy of the parameter in f32, the state `slow`.
    pub lookahead: Option<Lookahead>,
}

/// Weight decay on top of any rule: p ← p' − d·p, with p from before the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decay {
    /// Its kind.
    pub kind: DecayKind,
    /// At least 0.
    pub weight_decay: f64,
    /// Only where the update and p do not disagree in sign, u·p ≥ 0 (Chen et al. 2025). Where the
    /// update is 0 the element decays. Not for the coupled kind.
    pub cautious: bool,
}

/// What an element loses by weight decay in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum DecayKind {
    /// The gradient gains weight_decay·p (L2).
    Coupled,
    /// d = lr·weight_decay, PyTorch's AdamW.
    Decoupled,
    /// d = lr/max_lr·weight_decay: follows the schedule, not the size of the learning rate
    /// (torch-optimi's `decouple_lr`).
    Independent {
        /// The schedule's largest learning rate.
        max_lr: f64,
    },
    /// d = lr²/max_lr·weight_decay, for layers that a normalization follows (AdamC, Defazio 2025).
    Corrected {
        /// The schedule's largest learning rate.
        max_lr: f64,
    },
    /// d = weight_decay, whatever the learning rate.
    Fixed,
}

/// An average of a parameter over steps. It starts at the parameter before the first step, and is
/// the parameter up to step `start`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// How steps are weighted.
    pub kind: AverageKind,
    /// Up to this step, counted from 1, the average is the parameter itself. Default 0.
    pub start: u64,
    /// From there on it takes in one step of so many. Default 1.
    pub every: u64,
}

/// How an average weights steps: each one that it takes in, the n-th, moves it a part of the way to
/// the parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum AverageKind {
    /// By 1 − decay.
    Ema {
        /// The share that is kept.
        decay: f64,
    },
    /// By 1 − min(decay, (1 + n)/(10 + n)): torch-ema's.
    EmaWarmUp {
        /// The largest share that is kept.
        decay: f64,
    },
    /// The first all the way, then by 1 − decay: `get_ema_multi_avg_fn` of PyTorch's `swa_utils`.
    EmaOfCopy {
        /// The share that is kept.
        decay: f64,
    },
    /// By 1/n, the mean of all: stochastic weight averaging (SWA), PyTorch's `AveragedModel`.
    Uniform,
}

/// Every k steps a slow copy moves by alpha of the way to the parameter, which becomes the copy
/// (Zhang et al. 2019). The rule's states stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lookahead {
    /// Steps between. Default 5.
    pub k: u64,
    /// Above 0, at most 1. Default 0.5.
    pub alpha: f64,
}

impl Default for Lookahead {
    fn default() -> Self {
        Self { k: 5, alpha: 0.5 }
    }
}

impl Decay {
    /// Decay of this kind, everywhere.
    pub fn new(kind: DecayKind, weight_decay: f64) -> Self {
        Self { kind, weight_decay, cautious: false }
    }

    /// The same only where the update does not disagree.
    #[must_use]
    pub fn cautious(self) -> Self {
        Self { cautious: true, ..self }
    }

    /// What an element loses after the update at this learning rate, if it is not coupled.
    pub(crate) fn share(&self, lr: f64) -> f64 {
        match self.kind {
            DecayKind::Coupled => 0.0,
            DecayKind::Decoupled => lr * self.weight_decay,
            DecayKind::Independent { max_lr } => lr / max_lr * self.weight_decay,
            DecayKind::Corrected { max_lr } => lr * lr / max_lr * self.weight_decay,
            DecayKind::Fixed => self.weight_decay,
        }
    }
}

impl Average {
    /// Of this kind, over all steps.
    pub fn new(kind: AverageKind) -> Self {
        Self { kind, start: 0, every: 1 }
    }

    /// An exponential moving average from the parameter before the first step.
    pub fn ema(decay: f64) -> Self {
        Self::new(AverageKind::Ema { decay })
    }

    /// The mean of one step of every `every` after step `start`.
    pub fn swa(start: u64, every: u64) -> Self {
        Self { kind: AverageKind::Uniform, start, every }
    }
}

/// The names of the arrays that modifiers keep.
pub(crate) const AVERAGE: &str = "average";
pub(crate) const SLOW: &str = "slow";

/// The most arrays that modifiers keep.
pub(crate) const MAX_KEPT: usize = 2;

/// The most steps that a number of steps may be, as the device counts them.
const MOST_STEPS: u64 = u32::MAX as u64;

impl Modifiers {
    /// What decides kernel and arrays, by the flags of `shaders/passes/modify.wgsl`, if it is on.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let cautious_decay = self.decay.is_some_and(|decay| decay.cautious);
        let all = [
            ("cautious_decay", cautious_decay),
            ("cautious", self.cautious),
            ("clip_update", self.clip_update.is_some()),
            ("clip_grad_tensor", self.clip_grad_tensor.is_some()),
            ("bounds", self.bounds.is_some()),
            (AVERAGE, self.average.is_some()),
            ("lookahead", self.lookahead.is_some()),
        ];
        all.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag).collect()
    }

    /// The arrays that are kept beside a rule's states.
    pub(crate) fn kept(&self) -> Vec<&'static str> {
        let average = self.average.map(|_| AVERAGE);
        average.into_iter().chain(self.lookahead.map(|_| SLOW)).collect()
    }

    /// All numbers by name, for checkpoints.
    pub(crate) fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        let mut told: Vec<(_, Hyperparameter<'_>)> = Vec::new();
        if let Some(Decay { kind, weight_decay, .. }) = &mut self.decay {
            told.push(("modifiers.weight_decay", weight_decay.into()));
            if let DecayKind::Independent { max_lr } | DecayKind::Corrected { max_lr } = kind {
                told.push(("modifiers.max_lr", max_lr.into()));
            }
        }
        told.extend(self.clip_update.as_mut().map(|d| ("modifiers.clip_update", d.into())));
        let norm = self.clip_grad_tensor.as_mut();
        told.extend(norm.map(|norm| ("modifiers.clip_grad_tensor", norm.into())));
        told.extend(self.bounds.as_mut().map(|bounds| ("modifiers.bounds", bounds.into())));
        if let Some(Average { kind, start, every }) = &mut self.average {
            told.push(("modifiers.average.start", start.into()));
            told.push(("modifiers.average.every", every.into()));
            match kind {
                AverageKind::Ema { decay }
                | AverageKind::EmaWarmUp { decay }
                | AverageKind::EmaOfCopy { decay } => {
                    told.push(("modifiers.average.decay", decay.into()));
                }
                AverageKind::Uniform => {}
            }
        }
        if let Some(Lookahead { k, alpha }) = &mut self.lookahead {
            told.push(("modifiers.lookahead.k", k.into()));
            told.push(("modifiers.lookahead.alpha", alpha.into()));
        }
        told
    }

    /// Refuses numbers out of range.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let check = of_decay(Check::new("Modifiers"), self.decay.as_ref());
        let check = above_0(check, "clip_update", self.clip_update);
        let check = above_0(check, "clip_grad_tensor", self.clip_grad_tensor);
        let check = of_bounds(check, self.bounds);
        let check = of_average(check, self.average.as_ref());
        of_lookahead(check, self.lookahead).finish()
    }
}

fn of_decay<'c>(check: Check<'c>, decay: Option<&Decay>) -> Check<'c> {
    let Some(&Decay { kind, weight_decay, cautious }) = decay else { return check };
    let check = check.non_negative("decay.weight_decay", weight_decay).that(
        !(cautious && kind == DecayKind::Coupled),
        "decay.cautious",
        "false where decay is coupled, since the update is not known before it",
        cautious,
        "Take another kind of decay, such as `DecayKind::Decoupled`",
    );
    match kind {
        DecayKind::Independent { max_lr } | DecayKind::Corrected { max_lr } => {
            above_0(check, "decay.max_lr", Some(max_lr))
        }
        _ => check,
    }
}

fn above_0<'c>(check: Check<'c>, name: &str, value: Option<f64>) -> Check<'c> {
    let value = value.unwrap_or(1.0);
    check.that(
        value > 0.0 && (value as f32).is_normal(),
        name,
        "a finite number above 0 that f32 holds, from 1.2e-38 to 3.4e38",
        value,
        "Give such a number, or leave it out",
    )
}

fn of_bounds(check: Check<'_>, bounds: Option<(f64, f64)>) -> Check<'_> {
    let (low, high) = bounds.unwrap_or((0.0, 0.0));
    check.that(
        low <= high && low < f64::INFINITY && high > f64::NEG_INFINITY,
        "bounds",
        "a smallest number and a largest that is not below it",
        format!("({low}, {high})"),
        "Give the smaller first; for one bound alone let the other be infinite",
    )
}

fn of_average<'c>(check: Check<'c>, average: Option<&Average>) -> Check<'c> {
    let Some(&Average { kind, start, every }) = average else { return check };
    let check = of_steps(check, "average.every", every).that(
        start <= MOST_STEPS,
        "average.start",
        "at most 4294967295, the most steps that are counted",
        start,
        "Give the number of the step after which averaging starts",
    );
    match kind {
        AverageKind::Ema { decay }
        | AverageKind::EmaWarmUp { decay }
        | AverageKind::EmaOfCopy { decay } => check.decay_rate("average.decay", decay),
        AverageKind::Uniform => check,
    }
}

fn of_lookahead(check: Check<'_>, lookahead: Option<Lookahead>) -> Check<'_> {
    let Lookahead { k, alpha } = lookahead.unwrap_or_default();
    of_steps(check, "lookahead.k", k).that(
        alpha <= 1.0 && alpha > 0.0 && (alpha as f32).is_normal(),
        "lookahead.alpha",
        "above 0 and at most 1",
        alpha,
        "Give the part of the way that the slow copy moves, such as 0.5",
    )
}

fn of_steps<'c>(check: Check<'c>, name: &str, steps: u64) -> Check<'c> {
    check.that(
        (1..=MOST_STEPS).contains(&steps),
        name,
        "from 1 to 4294967295",
        steps,
        "Give a number of steps; 1 is every step",
    )
}
