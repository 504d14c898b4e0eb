//! ADOPT (Taniguchi et al. 2024).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// ADOPT: Adam that divides each gradient by the second moment of those before it, and takes the
/// mean afterwards, so that it converges with any β2.
///
/// ```text
/// g ← g + weight_decay·p               (or p ← p − lr·weight_decay·p from step 2 on, decoupled)
/// v ← g²                               exp_avg_sq, at step 1, which changes nothing else; then
/// x = g/max(√v, eps), clamped to ±(t − 1)^¼ with `clip`
/// m ← β1·m + (1 − β1)·x                exp_avg
/// p ← p − lr·m
/// v ← β2·v + (1 − β2)·g²
/// ```
///
/// Defaults are the authors'; their `decouple` is `decoupled_weight_decay`, and their
/// `clip_lambda` their default or `None`. pytorch-optimizer 4.1 clamps to t^¼. Taniguchi, Harada,
/// Minegishi, Oshima, Jeong, Nagahara, Iiyama, Suzuki, Iwasawa and Matsuo, *ADOPT: modified Adam
/// can converge with any β2 with the optimal rate*, NeurIPS 2024.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ADOPT {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.9999).
    pub betas: (f64, f64),
    /// The least divisor, at least 0: a floor of √v, not added to it. Default 1e-6.
    pub eps: f64,
    /// Weight decay, at least 0: coupled, or decoupled with `decoupled_weight_decay`. Default 0.
    pub weight_decay: f64,
    /// Shrink the parameter instead of changing the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Clamp what the mean is taken of to ±(t − 1)^¼, which tames early steps. An option. Default
    /// true.
    pub clip: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for ADOPT {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.9999),
            eps: 1e-6,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            clip: true,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`ADOPT`] needs to know.
    pub struct ADOPTCoeffs {
        /// lr
        lr,
        /// 1 at the first step, otherwise 0
        first,
        /// (t − 1)^¼
        limit,
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
        /// lr·weight_decay where that is decoupled, otherwise 0
        decay,
    }
}

crate::fields! {
    /// What an element of [`ADOPT`] remembers.
    pub struct ADOPTState {
        /// m, the running mean of the normalized gradient
        exp_avg,
        /// v, the running mean of the gradient's square
        exp_avg_sq,
    }
}

impl Rule for ADOPT {
    const NAME: &'static str = "adopt";
    const WGSL: &'static str = wgsl!("adopt");
    type Coeffs<T: Copy> = ADOPTCoeffs<T>;
    type State<T: Copy> = ADOPTState<T>;
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
            clip,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("ADOPT")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        vec![("clip", self.clip)]
    }
    fn before(&self) -> Before {
        let coupled = if self.decoupled_weight_decay { 0.0 } else { self.weight_decay };
        Before::maximize(self.maximize).weight_decay(coupled)
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> ADOPTCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let one = N::from(1.0);
        // Not by `After`, which decays at the first step too.
        let decay = if self.decoupled_weight_decay { self.lr * self.weight_decay } else { 0.0 };
        ADOPTCoeffs {
            lr: self.lr.into(),
            first: step.number().if_above(one, 0.0.into(), one),
            limit: (step.number() - one).sqrt().sqrt(),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            eps: self.eps.into(),
            decay: decay.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &ADOPTCoeffs<T>, p: T, g: T, s: &mut ADOPTState<T>) -> T {
        if c.first > T::default() {
            s.exp_avg_sq = g * g;
            return p;
        }
        let mut x = g / s.exp_avg_sq.sqrt().max(c.eps);
        if self.clip && x.abs() > c.limit {
            x = x.sign() * c.limit;
        }
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * x;
        s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * g * g;
        p - (c.lr * s.exp_avg + c.decay * p)
    }
}
