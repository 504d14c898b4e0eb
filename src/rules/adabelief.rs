//! AdaBelief (Zhuang et al. 2020).

use crate::error::{Check, Error};
use crate::rule::{After, Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// AdaBelief: Adam that divides by how far the gradient strays from its own running mean.
///
/// ```text
/// p ← p − lr·weight_decay·p
/// m ← β1·m + (1 − β1)·g                           exp_avg
/// s ← β2·s + (1 − β2)·(g − m)² + eps_root         exp_avg_var
/// p ← p − lr/(1 − β1ᵗ) · m / (√(s/(1 − β2ᵗ)) + eps)
/// ```
///
/// Defaults are optax's. Zhuang, Tang, Ding, Tatikonda, Dvornek, Papademetris and Duncan,
/// *AdaBelief optimizer: adapting stepsizes by the belief in observed gradients*, NeurIPS 2020.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaBelief {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-16.
    pub eps: f64,
    /// Added to the variance in every step, at least 0. Default 1e-16.
    pub eps_root: f64,
    /// Decoupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for AdaBelief {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-16,
            eps_root: 1e-16,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`AdaBelief`] needs to know.
    pub struct AdaBeliefCoeffs {
        /// lr/(1 − β1ᵗ)
        step_size,
        /// β1
        beta1,
        /// 1 − β1
        one_minus_beta1,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
        /// 1/√(1 − β2ᵗ)
        inv_sqrt_bias2,
        /// eps
        eps,
        /// eps_root
        eps_root,
    }
}

crate::fields! {
    /// What an element of [`AdaBelief`] remembers.
    pub struct AdaBeliefState {
        /// m, the running mean of the gradient
        exp_avg,
        /// s, the running mean of its squared deviation
        exp_avg_var,
    }
}

impl Rule for AdaBelief {
    const NAME: &'static str = "adabelief";
    const WGSL: &'static str = wgsl!("adabelief");
    type Coeffs<T: Copy> = AdaBeliefCoeffs<T>;
    type State<T: Copy> = AdaBeliefState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, betas, eps, eps_root, weight_decay, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("AdaBelief")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .not_vanishing("eps", self.eps)
            .not_vanishing("eps_root", self.eps_root)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize)
    }
    fn after(&self) -> After {
        After::decay(self.lr, self.weight_decay)
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_var"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> AdaBeliefCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let one = N::from(1.0);
        AdaBeliefCoeffs {
            step_size: N::from(self.lr) / (one - step.power(beta1)),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            inv_sqrt_bias2: one / (one - step.power(beta2)).sqrt(),
            eps: self.eps.into(),
            eps_root: self.eps_root.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &AdaBeliefCoeffs<T>, p: T, g: T, s: &mut AdaBeliefState<T>) -> T {
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * g;
        let stray = g - s.exp_avg;
        s.exp_avg_var = c.beta2 * s.exp_avg_var + c.one_minus_beta2 * stray * stray + c.eps_root;
        let denominator = s.exp_avg_var.sqrt() * c.inv_sqrt_bias2 + c.eps;
        p - c.step_size * (s.exp_avg / denominator)
    }
}
