//! RAdam (Liu et al. 2020).

use crate::error::{Check, Error};
use crate::rule::{After, Before, Hyperparameter, NoSums, Number, Real, Rule, Step, either_decay};

/// RAdam: Adam that waits with its adaptive step until the second moment's variance is bounded, and
/// so needs no warm-up.
///
/// ```text
/// g  ← g + weight_decay·p                       (or p ← p − lr·weight_decay·p, decoupled)
/// m  ← β1·m + (1 − β1)·g                        exp_avg
/// v  ← β2·v + (1 − β2)·g²                       exp_avg_sq
/// ρ∞ = 2/(1 − β2) − 1,  ρt = ρ∞ − 2t·β2ᵗ/(1 − β2ᵗ)
/// r  = √[(ρt − 4)(ρt − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρt)]
/// p  ← p − lr/(1 − β1ᵗ)·m · r·√(1 − β2ᵗ)/(√v + eps)   if ρt > 5
/// p  ← p − lr/(1 − β1ᵗ)·m                             otherwise
/// ```
///
/// With `decoupled_weight_decay` it is RAdamW. Defaults and names are PyTorch's. Liu, Jiang, He,
/// Chen, Liu, Gao and Han, *On the variance of the adaptive learning rate and beyond*, ICLR 2020.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RAdam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at least 0: coupled, or decoupled with `decoupled_weight_decay`. Default 0.
    pub weight_decay: f64,
    /// Shrink the parameter instead of changing the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`RAdam`] needs to know.
    pub struct RAdamCoeffs {
        /// lr/(1 − β1ᵗ), once rectified times r·√(1 − β2ᵗ)
        step_size,
        /// 1 if ρt > 5, otherwise 0
        rectified,
        /// β1
        beta1,
        /// 1 − β1
        one_minus_beta1,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
        /// eps
        eps,
    }
}

crate::fields! {
    /// What an element of [`RAdam`] remembers.
    pub struct RAdamState {
        /// m, the running mean of the gradient
        exp_avg,
        /// v, the running mean of its square
        exp_avg_sq,
    }
}

impl RAdam {
    /// ρt, and r·√(1 − β2ᵗ), which is meant where ρt is above 5.
    fn rectification<N: Number>(&self, step: Step<N>) -> (N, N) {
        let beta2 = self.betas.1;
        let (two, four) = (N::from(2.0), N::from(4.0));
        let power = step.power(beta2);
        let bias2 = N::from(1.0) - power;
        let limit = 2.0 / (1.0 - beta2) - 1.0;
        let length = N::from(limit) - two * step.number() * power / bias2;
        let scale = N::from(limit / ((limit - 4.0) * (limit - 2.0)));
        let squared = (length - four) * (length - two) / length * scale;
        (length, (squared * bias2).sqrt())
    }
}

impl RAdam {
    fn decay(&self) -> (Before, After) {
        let Self { decoupled_weight_decay, maximize, lr, weight_decay, .. } = *self;
        either_decay(decoupled_weight_decay, maximize, lr, weight_decay)
    }
}

impl Rule for RAdam {
    const NAME: &'static str = "radam";
    const WGSL: &'static str = wgsl!("radam");
    type Coeffs<T: Copy> = RAdamCoeffs<T>;
    type State<T: Copy> = RAdamState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(
            self,
            lr,
            betas,
            eps,
            weight_decay,
            decoupled_weight_decay,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("RAdam")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn before(&self) -> Before {
        self.decay().0
    }
    fn after(&self) -> After {
        self.decay().1
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> RAdamCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let one = N::from(1.0);
        let (length, rectification) = self.rectification(step);
        let step_size = N::from(self.lr) / (one - step.power(beta1));
        let threshold = N::from(5.0);
        RAdamCoeffs {
            step_size: length.if_above(threshold, step_size * rectification, step_size),
            rectified: length.if_above(threshold, one, 0.0.into()),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            eps: self.eps.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &RAdamCoeffs<T>, p: T, g: T, s: &mut RAdamState<T>) -> T {
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * g;
        s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * g * g;
        let root = s.exp_avg_sq.sqrt() + c.eps;
        let denominator = if c.rectified > T::default() { root } else { T::from_f64(1.0) };
        p - c.step_size * (s.exp_avg / denominator)
    }
}
