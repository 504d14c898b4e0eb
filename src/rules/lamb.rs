//! LAMB (You et al. 2020).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, Number, Real, Rule, Step, SumKind};
use crate::rules::trust_ratio;

/// LAMB: Adam whose step each tensor scales by its own norm, for very large batches.
///
/// ```text
/// m ← β1·m + (1 − β1)·g                                     exp_avg
/// v ← β2·v + (1 − β2)·g²                                    exp_avg_sq
/// u = m/(1 − β1ᵗ) / (√(v/(1 − β2ᵗ)) + eps) + weight_decay·p
/// r = ‖p‖/‖u‖ of the whole tensor, or 1 where either is 0 or r above 1e37
/// p ← p − lr·r·u
/// ```
///
/// Defaults are optax's. The norms are taken on the GPU, in the same recorded commands, with the
/// same bits however a tensor is cut into dispatches; their squares neither overflow nor vanish,
/// but a norm beyond f32's range is infinite. A NaN in a gradient reaches its whole tensor. You,
/// Li, Reddi, Hseu, Kumar, Bhojanapalli, Song, Demmel, Keutzer and Hsieh, *Large batch optimization
/// for deep learning: training BERT in 76 minutes*, ICLR 2020.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LAMB {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-6.
    pub eps: f64,
    /// Weight decay, at least 0: a part of the direction u. Default 0.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for LAMB {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

crate::fields! {
    /// What a step of [`LAMB`] needs to know.
    pub struct LAMBCoeffs {
        /// lr, times r for each tensor
        lr,
        /// β1
        beta1,
        /// 1 − β1
        one_minus_beta1,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
        /// 1/(1 − β1ᵗ)
        inv_bias1,
        /// 1/√(1 − β2ᵗ)
        inv_sqrt_bias2,
        /// eps
        eps,
        /// weight_decay
        weight_decay,
    }
}

crate::fields! {
    /// What an element of [`LAMB`] remembers.
    pub struct LAMBState {
        /// m, the running mean of the gradient
        exp_avg,
        /// v, the running mean of its square
        exp_avg_sq,
    }
}

crate::fields! {
    /// What [`LAMB`] knows of a whole tensor: norms.
    pub struct LAMBSums {
        /// ‖p‖
        param,
        /// ‖u‖
        direction,
    }
}

impl LAMB {
    /// u of one element.
    #[inline(always)]
    fn direction<T: Real>(c: &LAMBCoeffs<T>, p: T, g: T, s: &mut LAMBState<T>) -> T {
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * g;
        s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * g * g;
        let denominator = s.exp_avg_sq.sqrt() * c.inv_sqrt_bias2 + c.eps;
        c.inv_bias1 * (s.exp_avg / denominator) + c.weight_decay * p
    }
}

impl Rule for LAMB {
    const NAME: &'static str = "lamb";
    const WGSL: &'static str = wgsl!("lamb");
    type Coeffs<T: Copy> = LAMBCoeffs<T>;
    type State<T: Copy> = LAMBState<T>;
    type Sums<T: Copy> = LAMBSums<T>;

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
        Check::new("LAMB")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize)
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> LAMBCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let one = N::from(1.0);
        LAMBCoeffs {
            lr: self.lr.into(),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            inv_bias1: one / (one - step.power(beta1)),
            inv_sqrt_bias2: one / (one - step.power(beta2)).sqrt(),
            eps: self.eps.into(),
            weight_decay: self.weight_decay.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &LAMBCoeffs<T>, p: T, g: T, s: &mut LAMBState<T>) -> T {
        p - c.lr * Self::direction(c, p, g, s)
    }
    fn sum_kinds() -> LAMBSums<SumKind> {
        LAMBSums { param: SumKind::Norm, direction: SumKind::Norm }
    }
    #[inline(always)]
    fn summands<T: Real>(
        &self,
        c: &LAMBCoeffs<T>,
        p: T,
        g: T,
        s: &mut LAMBState<T>,
    ) -> LAMBSums<T> {
        LAMBSums { param: p, direction: Self::direction(c, p, g, s) }
    }
    fn with_sums(&self, c: LAMBCoeffs<f64>, sums: &LAMBSums<f64>) -> LAMBCoeffs<f64> {
        let ratio = trust_ratio(1.0, sums.param, sums.direction);
        LAMBCoeffs { lr: c.lr * ratio, ..c }
    }
}
