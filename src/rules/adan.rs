//! Adan (Xie et al. 2022).

use crate::error::{Check, Error};
use crate::rule::{After, Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// Adan: Adam with Nesterov's momentum, estimated by the difference of successive gradients.
///
/// ```text
/// d ← g − g', the gradient of the step before; 0 at step 1      neg_pre_grad is −g'
/// m ← β1·m + (1 − β1)·g                                         exp_avg
/// δ ← β2·δ + (1 − β2)·d                                         exp_avg_diff
/// n ← β3·n + (1 − β3)·(g + β2·d)²                               exp_avg_sq
/// u = lr·(m/(1 − β1ᵗ) + β2·δ/(1 − β2ᵗ)) / (√n/√(1 − β3ᵗ) + eps)
/// p ← (p − u)/(1 + lr·weight_decay)                             or, with `no_prox`,
/// p ← p − lr·weight_decay·p − u
/// ```
///
/// Defaults and names are the authors', whose states these are: the previous gradient is kept with
/// its sign changed, as their code, pytorch-optimizer and Burn keep it, so that it moves between
/// them as it is. The paper's β are one minus these. Clipping comes before the difference, and a
/// skipped step keeps the previous gradient. optimi's moments are corrected ones: multiply its
/// states by 1 − βᵗ. With statistics the step binds 9 storage buffers, one more than devices have
/// by default. Xie, Zhou, Li, Lin and Yan, *Adan: adaptive Nesterov momentum algorithm for
/// faster optimizing deep models*, 2022.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adan {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// β1, β2 and β3, the shares of the old averages that a step keeps, in [0, 1). Default (0.98,
    /// 0.92, 0.99).
    pub betas: (f64, f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Decay as AdamW does, instead of dividing by 1 + lr·weight_decay after the step. Default
    /// false.
    pub no_prox: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for Adan {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.98, 0.92, 0.99),
            eps: 1e-8,
            weight_decay: 0.0,
            no_prox: false,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`Adan`] needs to know.
    pub struct AdanCoeffs {
        /// 1 at the first step, otherwise 0
        first,
        /// lr/(1 − β1ᵗ)
        step_size,
        /// lr·β2/(1 − β2ᵗ)
        diff_step,
        /// β1
        beta1,
        /// 1 − β1
        one_minus_beta1,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
        /// β3
        beta3,
        /// 1 − β3
        one_minus_beta3,
        /// 1/√(1 − β3ᵗ)
        inv_sqrt_bias3,
        /// eps
        eps,
        /// lr·weight_decay/(1 + lr·weight_decay), or 0 with `no_prox`
        prox_decay,
    }
}

crate::fields! {
    /// What an element of [`Adan`] remembers.
    pub struct AdanState {
        /// m, the running mean of the gradient
        exp_avg,
        /// δ, the running mean of the gradient's difference
        exp_avg_diff,
        /// n, the running mean of the square of the gradient ahead
        exp_avg_sq,
        /// the previous gradient, with its sign changed
        neg_pre_grad,
    }
}

impl Rule for Adan {
    const NAME: &'static str = "adan";
    const WGSL: &'static str = wgsl!("adan");
    type Coeffs<T: Copy> = AdanCoeffs<T>;
    type State<T: Copy> = AdanState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, betas, eps, weight_decay, no_prox, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Adan")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .decay_rate("betas.2", self.betas.2)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize)
    }
    fn after(&self) -> After {
        After::decay(self.lr, if self.no_prox { self.weight_decay } else { 0.0 })
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> AdanCoeffs<N> {
        let (beta1, beta2, beta3) = self.betas;
        let one = N::from(1.0);
        let decay = if self.no_prox { 0.0 } else { self.lr * self.weight_decay };
        AdanCoeffs {
            first: step.number().if_above(one, 0.0.into(), one),
            step_size: N::from(self.lr) / (one - step.power(beta1)),
            diff_step: N::from(self.lr * beta2) / (one - step.power(beta2)),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            beta3: beta3.into(),
            one_minus_beta3: (1.0 - beta3).into(),
            inv_sqrt_bias3: one / (one - step.power(beta3)).sqrt(),
            eps: self.eps.into(),
            prox_decay: (decay / (1.0 + decay)).into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &AdanCoeffs<T>, p: T, g: T, s: &mut AdanState<T>) -> T {
        let zero = T::default();
        let diff = if c.first > zero { zero } else { g + s.neg_pre_grad };
        let ahead = g + c.beta2 * diff;
        s.neg_pre_grad = -g;
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * g;
        s.exp_avg_diff = c.beta2 * s.exp_avg_diff + c.one_minus_beta2 * diff;
        s.exp_avg_sq = c.beta3 * s.exp_avg_sq + c.one_minus_beta3 * ahead * ahead;
        let denominator = s.exp_avg_sq.sqrt() * c.inv_sqrt_bias3 + c.eps;
        let moved = p - (c.step_size * s.exp_avg + c.diff_step * s.exp_avg_diff) / denominator;
        moved - c.prox_decay * moved
    }
}
