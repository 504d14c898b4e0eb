//! Rprop (Riedmiller and Braun 1993).

use crate::error::{Check, Error, is_normal_f32};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// Rprop: each element has a step of its own, which grows while its gradient keeps its sign and
/// shrinks when it turns. For full-batch training.
///
/// ```text
/// s    = sign(g)·sign(prev)
/// step ← clamp(step·η⁺) if s > 0,  clamp(step·η⁻) if s < 0       step_size, at first lr
/// g    ← 0 if s < 0
/// p    ← p − sign(g)·step
/// prev ← g                                                       prev
/// ```
///
/// Defaults and names are PyTorch's. PyTorch takes the sign of the product g·prev, which is 0 where
/// the product underflows; here the signs are multiplied, and any two gradients count. Riedmiller
/// and Braun, *A direct adaptive method for faster backpropagation learning: the RPROP algorithm*,
/// 1993.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rprop {
    /// The steps' size at first, at least 0. It is read when the optimizer is built; a later change
    /// has no effect. Default 1e-2.
    pub lr: f64,
    /// η⁻ in (0, 1) and η⁺ above 1. Default (0.5, 1.2).
    pub etas: (f64, f64),
    /// The smallest and the largest step. Default (1e-6, 50).
    pub step_sizes: (f64, f64),
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for Rprop {
    fn default() -> Self {
        Self { lr: 1e-2, etas: (0.5, 1.2), step_sizes: (1e-6, 50.0), maximize: false }
    }
}

crate::fields! {
    /// What a step of [`Rprop`] needs to know.
    pub struct RpropCoeffs {
        /// η⁻
        eta_minus,
        /// η⁺
        eta_plus,
        /// the smallest step
        step_min,
        /// the largest step
        step_max,
    }
}

crate::fields! {
    /// What an element of [`Rprop`] remembers.
    pub struct RpropState {
        /// the gradient before, or 0 where the step shrank
        prev,
        /// the element's step
        step_size,
    }
}

impl Rule for Rprop {
    const NAME: &'static str = "rprop";
    const WGSL: &'static str = wgsl!("rprop");
    type Coeffs<T: Copy> = RpropCoeffs<T>;
    type State<T: Copy> = RpropState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, etas, step_sizes, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        let ((minus, plus), (least, most)) = (self.etas, self.step_sizes);
        let remedy = "Give such a pair, such as the default";
        Check::new("Rprop")
            .non_negative("lr", self.lr)
            .that(
                is_normal_f32(minus)
                    && 0.0 < minus
                    && (minus as f32) < 1.0
                    && 1.0 < (plus as f32)
                    && (plus as f32).is_finite(),
                "etas",
                "a number in (0, 1) and a finite one above 1, as f32 too",
                format!("{:?}", self.etas),
                remedy,
            )
            .that(
                0.0 <= least && least <= most && most.is_finite(),
                "step_sizes",
                "two finite numbers of at least 0 in ascending order",
                format!("{:?}", self.step_sizes),
                remedy,
            )
            .not_vanishing("step_sizes.0", least)
            .not_vanishing("step_sizes.1", most)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize)
    }
    fn initial_state(&self) -> RpropState<Option<f64>> {
        RpropState { prev: Some(0.0), step_size: Some(self.lr) }
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["step_size"]
    }
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> RpropCoeffs<N> {
        let ((minus, plus), (least, most)) = (self.etas, self.step_sizes);
        RpropCoeffs {
            eta_minus: minus.into(),
            eta_plus: plus.into(),
            step_min: least.into(),
            step_max: most.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &RpropCoeffs<T>, p: T, g: T, s: &mut RpropState<T>) -> T {
        let (zero, one) = (T::default(), T::from_f64(1.0));
        let ascent = g.sign();
        let turn = ascent * s.prev.sign();
        let turned = turn < zero;
        let factor = if turn > zero { c.eta_plus } else { one };
        let factor = if turned { c.eta_minus } else { factor };
        s.step_size = (s.step_size * factor).max(c.step_min).min(c.step_max);
        s.prev = if turned { zero } else { g };
        p - (if turned { zero } else { ascent }) * s.step_size
    }
}
