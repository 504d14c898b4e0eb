//! What happens around every rule's update: to the gradient before it, to the parameter after it,
//! and how a decision about the step scales gradients. `shaders/passes/around.wgsl` is the twin.

use crate::error::{Check, Error};
use crate::rule::real::Real;

/// What happens to a gradient before the rule sees it, in this order: it is negated to ascend, and
/// gains coupled (L2) weight decay, `weight_decay`·p.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Before {
    /// Ascend instead of descend.
    pub maximize: bool,
    /// Coupled weight decay, at least 0.
    pub weight_decay: f64,
}

/// What happens to a parameter after the rule's update: decoupled weight decay, `p ← p − decay·p₀`
/// with p₀ from before the step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct After {
    /// lr·weight_decay, at least 0. It is rounded by itself: 1 − lr·weight_decay, rounded, would be
    /// off by up to 3e-8 of the parameter in every step, always to the same side.
    pub decay: f64,
}

impl Before {
    /// Nothing, or maximization.
    pub fn maximize(maximize: bool) -> Self {
        Self { maximize, weight_decay: 0.0 }
    }

    /// Coupled weight decay too.
    #[must_use]
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self { weight_decay, ..self }
    }
}

/// Weight decay of rules that have either kind: coupled, or decoupled.
pub(crate) fn either_decay(
    decoupled: bool,
    maximize: bool,
    lr: f64,
    weight_decay: f64,
) -> (Before, After) {
    let (before, after) = (Before::maximize(maximize), After::default());
    match decoupled {
        true => (before, After::decay(lr, weight_decay)),
        false => (before.weight_decay(weight_decay), after),
    }
}

impl After {
    /// Decoupled weight decay.
    pub fn decay(lr: f64, weight_decay: f64) -> Self {
        Self { decay: lr * weight_decay }
    }
}

crate::fields! {
    /// [`Before`] and [`After`] as numbers: what every rule's coefficients begin with.
    pub(crate) struct Around {
        /// not 0 to ascend
        maximize,
        /// coupled weight decay
        weight_decay,
        /// decoupled weight decay, lr·weight_decay
        decay,
        /// the step's number, on which rounding by chance depends
        step,
    }
}

impl Around<f64> {
    pub fn new(before: Before, after: After) -> Self {
        Self {
            maximize: f64::from(u8::from(before.maximize)),
            weight_decay: before.weight_decay,
            decay: after.decay,
            step: 0.0,
        }
    }

    /// Refuses numbers that no step can use.
    pub fn validate(&self, rule: &str) -> Result<(), Error> {
        let number = |x: f64| x >= 0.0 && (x as f32).is_finite();
        let expected = "at least 0 and finite as an f32";
        let remedy = "Correct what the rule's `before` and `after` return";
        Check::new(rule)
            .that(
                number(self.weight_decay),
                "before().weight_decay",
                expected,
                self.weight_decay,
                remedy,
            )
            .that(number(self.decay), "after().decay", expected, self.decay, remedy)
            .finish()
    }
}

crate::fields! {
    /// What a decision about a step does to all gradients: `g ← factor·g`, then `g` clamped to
    /// ±`limit`.
    pub(crate) struct Scaling {
        /// what every gradient is multiplied by: unscaling, averaging, clipping by a norm
        factor,
        /// the largest magnitude that an element of the gradient keeps
        limit,
    }
}

impl<T: Real> Around<T> {
    /// The same without weight decay.
    pub fn without_decay(&self) -> Self {
        Self { weight_decay: T::default(), decay: T::default(), ..*self }
    }

    /// The gradient that the rule sees.
    #[inline(always)]
    pub fn gradient(&self, scaling: &Scaling<T>, p: T, g: T) -> T {
        let ascends = self.maximize != T::default();
        let g = (if ascends { -scaling.factor } else { scaling.factor }) * g;
        // Written so that a NaN stays one.
        let g = if g.abs() > scaling.limit { g.sign() * scaling.limit } else { g };
        let decayed = g + self.weight_decay * p;
        if self.weight_decay == T::default() { g } else { decayed }
    }

    /// The parameter after the rule took it from `old` to `new`.
    #[inline(always)]
    pub fn finished(&self, old: T, new: T) -> T {
        let decayed = new - self.decay * old;
        if self.decay == T::default() { new } else { decayed }
    }
}
