//! Adamax (Kingma and Ba 2015).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// Adamax: Adam with the largest recent gradient in place of the root of the mean square.
///
/// ```text
/// g ← g + weight_decay·p
/// m ← β1·m + (1 − β1)·g              exp_avg
/// u ← max(β2·u, |g| + eps)           exp_inf
/// p ← p − lr/(1 − β1ᵗ) · m/u
/// ```
///
/// Defaults and names are PyTorch's. Kingma and Ba, *Adam: a method for stochastic optimization*,
/// section 7.1, ICLR 2015.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adamax {
    /// Learning rate, at least 0. Default 2e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old values that a step keeps, in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the gradient's magnitude, at least 0. Default 1e-8.
    pub eps: f64,
    /// Coupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

crate::fields! {
    /// What a step of [`Adamax`] needs to know.
    pub struct AdamaxCoeffs {
        /// lr/(1 − β1ᵗ)
        step_size,
        /// β1
        beta1,
        /// 1 − β1
        one_minus_beta1,
        /// β2
        beta2,
        /// eps
        eps,
    }
}

crate::fields! {
    /// What an element of [`Adamax`] remembers.
    pub struct AdamaxState {
        /// m, the running mean of the gradient
        exp_avg,
        /// u, the decaying maximum of its magnitude
        exp_inf,
    }
}

impl Rule for Adamax {
    const NAME: &'static str = "adamax";
    const WGSL: &'static str = wgsl!("adamax");
    type Coeffs<T: Copy> = AdamaxCoeffs<T>;
    type State<T: Copy> = AdamaxState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, betas, eps, weight_decay, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Adamax")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_inf"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> AdamaxCoeffs<N> {
        let (beta1, beta2) = self.betas;
        AdamaxCoeffs {
            step_size: N::from(self.lr) / (N::from(1.0) - step.power(beta1)),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            eps: self.eps.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &AdamaxCoeffs<T>, p: T, g: T, s: &mut AdamaxState<T>) -> T {
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * g;
        s.exp_inf = (c.beta2 * s.exp_inf).max(g.abs() + c.eps);
        p - c.step_size * (s.exp_avg / s.exp_inf)
    }
}
