//! Adadelta (Zeiler 2012).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// Adadelta: AdaGrad over a running mean, with steps in the parameter's own units.
///
/// ```text
/// g   ← g + weight_decay·p
/// sq  ← ρ·sq + (1 − ρ)·g²                 square_avg
/// Δ   = √(acc + eps)/√(sq + eps)·g
/// acc ← ρ·acc + (1 − ρ)·Δ²                acc_delta
/// p   ← p − lr·Δ
/// ```
///
/// Defaults and names are PyTorch's. Zeiler, *ADADELTA: an adaptive learning rate method*, 2012.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adadelta {
    /// Learning rate, at least 0: a factor on steps that size themselves. Default 1.
    pub lr: f64,
    /// ρ, the share of the old averages that a step keeps, in [0, 1). Default 0.9.
    pub rho: f64,
    /// Added under both roots, at least 0: the first steps' size comes from it. Default 1e-6.
    pub eps: f64,
    /// Coupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

crate::fields! {
    /// What a step of [`Adadelta`] needs to know.
    pub struct AdadeltaCoeffs {
        /// lr
        lr,
        /// ρ
        rho,
        /// 1 − ρ
        one_minus_rho,
        /// eps
        eps,
    }
}

crate::fields! {
    /// What an element of [`Adadelta`] remembers.
    pub struct AdadeltaState {
        /// sq, the running mean of the squared gradient
        square_avg,
        /// acc, the running mean of the squared step
        acc_delta,
    }
}

impl Rule for Adadelta {
    const NAME: &'static str = "adadelta";
    const WGSL: &'static str = wgsl!("adadelta");
    type Coeffs<T: Copy> = AdadeltaCoeffs<T>;
    type State<T: Copy> = AdadeltaState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, rho, eps, weight_decay, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Adadelta")
            .non_negative("lr", self.lr)
            .decay_rate("rho", self.rho)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["square_avg", "acc_delta"]
    }
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> AdadeltaCoeffs<N> {
        AdadeltaCoeffs {
            lr: self.lr.into(),
            rho: self.rho.into(),
            one_minus_rho: (1.0 - self.rho).into(),
            eps: self.eps.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &AdadeltaCoeffs<T>, p: T, g: T, s: &mut AdadeltaState<T>) -> T {
        s.square_avg = c.rho * s.square_avg + c.one_minus_rho * g * g;
        let delta = (s.acc_delta + c.eps).sqrt() / (s.square_avg + c.eps).sqrt() * g;
        s.acc_delta = c.rho * s.acc_delta + c.one_minus_rho * delta * delta;
        p - c.lr * delta
    }
}
