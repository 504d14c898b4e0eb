//! AdEMAMix (Pagliardini, Ablin and Grangier 2024).

use crate::error::{Check, Error};
use crate::rule::{After, Before, Hyperparameter, NoSums, Number, Real, Rule, Step, exp_m1};

/// AdEMAMix: AdamW with a second, slow mean of the gradients, so that old ones still count.
///
/// ```text
/// m1 ← β1·m1 + (1 − β1)·g                       exp_avg_fast
/// m2 ← β3ₜ·m2 + (1 − β3ₜ)·g                     exp_avg_slow
/// v  ← β2·v + (1 − β2)·g²                       exp_avg_sq
/// p  ← p − lr·((m1/(1 − β1ᵗ) + αₜ·m2)/(√v/√(1 − β2ᵗ) + eps) + weight_decay·p)
/// ```
///
/// m2 has no bias correction. Over `alpha_warmup` steps αₜ grows in proportion to t, up to `alpha`;
/// over `beta3_warmup` steps the time h in which m2 halves grows in proportion to t, from β1's to
/// β3's: β3ₜ = ½^(1/h), with h(β) = ln ½/ln(β + 1e-8).
///
/// Formula, names and defaults are those of the authors' code; optax's and pytorch-optimizer's
/// numbers are the same with their default `alpha` of 5, and the latter's decay is coupled unless
/// asked otherwise. bitsandbytes decays after the update, and has m1 and m2 in one array.
/// Pagliardini, Ablin and Grangier, *The AdEMAMix optimizer: better, faster, older*, ICLR 2025.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdEMAMix {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// β1, β2 and β3, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.999, 0.9999).
    pub betas: (f64, f64, f64),
    /// α, how much the slow mean counts, at least 0. Default 2.
    pub alpha: f64,
    /// The steps over which β3ₜ grows from β1 to β3; 0 for none. Default 0.
    pub beta3_warmup: f64,
    /// The steps over which αₜ grows from 0 to α; 0 for none. Default 0.
    pub alpha_warmup: f64,
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Decoupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for AdEMAMix {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999, 0.9999),
            alpha: 2.0,
            beta3_warmup: 0.0,
            alpha_warmup: 0.0,
            eps: 1e-8,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`AdEMAMix`] needs to know.
    pub struct AdEMAMixCoeffs {
        /// lr/(1 − β1ᵗ)
        fast_step,
        /// lr·αₜ
        slow_step,
        /// β1
        beta1,
        /// 1 − β1
        one_minus_beta1,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
        /// β3ₜ
        beta3,
        /// 1 − β3ₜ
        one_minus_beta3,
        /// 1/√(1 − β2ᵗ)
        inv_sqrt_bias2,
        /// eps
        eps,
    }
}

crate::fields! {
    /// What an element of [`AdEMAMix`] remembers.
    pub struct AdEMAMixState {
        /// m1, the fast running mean of the gradient
        exp_avg_fast,
        /// m2, the slow one
        exp_avg_slow,
        /// v, the running mean of the gradient's square
        exp_avg_sq,
    }
}

/// The steps in which a mean that keeps β in each forgets half; the authors keep the logarithm from
/// 0 by what they add.
fn half_life(beta: f64) -> f64 {
    0.5f64.ln() / (beta + 1e-8).ln()
}

impl AdEMAMix {
    /// αₜ
    fn alpha<N: Number>(&self, t: N) -> N {
        let (alpha, warm_up) = (N::from(self.alpha), N::from(self.alpha_warmup));
        if self.alpha_warmup == 0.0 {
            return alpha;
        }
        warm_up.if_above(t, alpha * t / warm_up, alpha)
    }

    /// β3ₜ and 1 − β3ₜ
    fn beta3<N: Number>(&self, t: N) -> (N, N) {
        let (beta1, _, beta3) = self.betas;
        let (last, rest) = (N::from(beta3), N::from(1.0 - beta3));
        if self.beta3_warmup == 0.0 {
            return (last, rest);
        }
        let warm_up = N::from(self.beta3_warmup);
        let (first, growth) = (half_life(beta1), half_life(beta3) - half_life(beta1));
        let half_life = N::from(first) + t / warm_up * N::from(growth);
        // Of 1/β3ₜ = 2^(1/h), which is above 1.
        let excess = exp_m1(N::from(2f64.ln()) / half_life);
        let inverse = N::from(1.0) + excess;
        (
            warm_up.if_above(t, N::from(1.0) / inverse, last),
            warm_up.if_above(t, excess / inverse, rest),
        )
    }
}

impl Rule for AdEMAMix {
    const NAME: &'static str = "ademamix";
    const WGSL: &'static str = wgsl!("ademamix");
    type Coeffs<T: Copy> = AdEMAMixCoeffs<T>;
    type State<T: Copy> = AdEMAMixState<T>;
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
            alpha,
            beta3_warmup,
            alpha_warmup,
            eps,
            weight_decay,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("AdEMAMix")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .decay_rate("betas.2", self.betas.2)
            .non_negative("alpha", self.alpha)
            .non_negative("beta3_warmup", self.beta3_warmup)
            .non_negative("alpha_warmup", self.alpha_warmup)
            .not_vanishing("eps", self.eps)
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
        &["exp_avg_sq"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> AdEMAMixCoeffs<N> {
        let (beta1, beta2, _) = self.betas;
        let (lr, one) = (N::from(self.lr), N::from(1.0));
        let (beta3, one_minus_beta3) = self.beta3(step.number());
        AdEMAMixCoeffs {
            fast_step: lr / (one - step.power(beta1)),
            slow_step: lr * self.alpha(step.number()),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            beta3,
            one_minus_beta3,
            inv_sqrt_bias2: one / (one - step.power(beta2)).sqrt(),
            eps: self.eps.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &AdEMAMixCoeffs<T>, p: T, g: T, s: &mut AdEMAMixState<T>) -> T {
        s.exp_avg_fast = c.beta1 * s.exp_avg_fast + c.one_minus_beta1 * g;
        s.exp_avg_slow = c.beta3 * s.exp_avg_slow + c.one_minus_beta3 * g;
        s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * g * g;
        let denominator = s.exp_avg_sq.sqrt() * c.inv_sqrt_bias2 + c.eps;
        p - (c.fast_step * s.exp_avg_fast + c.slow_step * s.exp_avg_slow) / denominator
    }
}
