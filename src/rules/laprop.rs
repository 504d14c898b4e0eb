//! LaProp (Ziyin, Wang and Ueda 2020).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, StateInit, Step};

/// LaProp: Adam that normalizes each gradient before it takes the mean, so that momentum and
/// normalization do not interfere.
///
/// ```text
/// v ← β2·v + (1 − β2)·g²                                  exp_avg_sq
/// L ← β1·L + (1 − β1)·lr                                  exp_avg_lr_1, of the whole group
/// m ← β1·m + (1 − β1)·lr·g/(√v/√(1 − β2ᵗ) + eps)          exp_avg
/// p ← p − (lr/L)·m
/// p ← p − lr·weight_decay·p
/// ```
///
/// Defaults, names and formula are timm's: m holds the learning rates of its steps, so that a
/// schedule weights gradients by them. With a learning rate of 0 a step moves no parameter, where
/// timm moves it by m. The authors' code decays by weight_decay·p, without lr. heavyball keeps m
/// without lr. Ziyin, Wang and Ueda, *LaProp: separating momentum and adaptivity in Adam*, 2020.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaProp {
    /// Learning rate, at least 0. Default 4e-4.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-15.
    pub eps: f64,
    /// Weight decay, decoupled and after the step; at least 0. Default 0.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for LaProp {
    fn default() -> Self {
        Self { lr: 4e-4, betas: (0.9, 0.999), eps: 1e-15, weight_decay: 0.0, maximize: false }
    }
}

crate::fields! {
    /// What a step of [`LaProp`] needs to know.
    pub struct LaPropCoeffs {
        /// lr/L
        step_size,
        /// β1
        beta1,
        /// (1 − β1)·lr
        gain,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
        /// 1/√(1 − β2ᵗ)
        inv_sqrt_bias2,
        /// eps
        eps,
        /// lr·weight_decay
        decay,
    }
}

crate::fields! {
    /// What an element of [`LaProp`] remembers.
    pub struct LaPropState {
        /// m, the running mean of the normalized gradient times lr
        exp_avg,
        /// v, the running mean of the gradient's square
        exp_avg_sq,
    }
}

impl LaProp {
    /// What a step adds to L, and to m of the normalized gradient.
    fn gain(&self) -> f64 {
        (1.0 - self.betas.0) * self.lr
    }
}

impl Rule for LaProp {
    const NAME: &'static str = "laprop";
    const WGSL: &'static str = wgsl!("laprop");
    type Coeffs<T: Copy> = LaPropCoeffs<T>;
    type State<T: Copy> = LaPropState<T>;
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
        Check::new("LaProp")
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
    fn scalars(&self) -> Vec<StateInit> {
        vec![StateInit { name: "exp_avg_lr_1", value: 0.0 }]
    }
    fn advance<N: Number>(&self, _: Step<N>, scalars: &mut [N]) {
        scalars[0] = N::from(self.betas.0) * scalars[0] + N::from(self.gain());
    }
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        let mut mean = [0.0];
        for step in 1..=steps {
            let before = mean;
            self.advance(Step::new(step as f64), &mut mean);
            // Every later step would leave it too.
            if mean == before {
                break;
            }
        }
        mean.to_vec()
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> LaPropCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let (zero, one) = (N::from(0.0), N::from(1.0));
        LaPropCoeffs {
            step_size: scalars[0].if_above(zero, N::from(self.lr) / scalars[0], zero),
            beta1: beta1.into(),
            gain: self.gain().into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            inv_sqrt_bias2: one / (one - step.power(beta2)).sqrt(),
            eps: self.eps.into(),
            decay: (self.lr * self.weight_decay).into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &LaPropCoeffs<T>, p: T, g: T, s: &mut LaPropState<T>) -> T {
        s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * g * g;
        let denominator = s.exp_avg_sq.sqrt() * c.inv_sqrt_bias2 + c.eps;
        s.exp_avg = c.beta1 * s.exp_avg + c.gain * (g / denominator);
        let moved = p - c.step_size * s.exp_avg;
        moved - c.decay * moved
    }
}
