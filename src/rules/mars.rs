//! MARS-AdamW (Yuan et al. 2024).

use crate::error::{Check, Error};
use crate::rule::{After, Before, Hyperparameter, Number, Real, Rule, Step, SumKind};

/// MARS: AdamW of gradients that are corrected by their change, which reduces their variance.
///
/// ```text
/// c ← g + gamma·β1/(1 − β1)·(g − g'), with g' the gradient of the step before   last_grad
/// c ← c/max(1, ‖c‖), the norm over the whole tensor
/// m ← β1·m + (1 − β1)·c                                         exp_avg
/// v ← β2·v + (1 − β2)·c²                                        exp_avg_sq
/// p ← p − lr·weight_decay·p − lr/(1 − β1ᵗ) · m / (√v/√(1 − β2ᵗ) + eps)
/// ```
///
/// g' is 0 at the first step. Formula, names and defaults are those of the authors' MARS-AdamW
/// (`mars_type="mars-adamw"`), which is for matrices: give vectors and scalars to
/// [`AdamW`](crate::AdamW) with betas (0.9, 0.95), a learning rate of its own and weight decay 0.1,
/// a group by name, unless their `optimize_1d` is on. Theirs keeps the gradient's tensor itself as
/// `last_grad`, so that it is 0 where gradients are zeroed in place; here it is a copy.
/// pytorch-optimizer adds 1e-15 under the root. A NaN in a gradient reaches its whole tensor. With
/// statistics, or with masters, remainders or Kahan sums beside 16-bit parameters, the step binds 9
/// storage buffers, one more than devices have by default. Yuan,
/// Liu, Wu, Zhou and Gu, *MARS: unleashing the power of variance reduction for training large
/// models*, 2024.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MARS {
    /// Learning rate, at least 0. Default 3e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.95,
    /// 0.99).
    pub betas: (f64, f64),
    /// How far gradients are corrected, at least 0. Default 0.025.
    pub gamma: f64,
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Decoupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for MARS {
    fn default() -> Self {
        Self {
            lr: 3e-3,
            betas: (0.95, 0.99),
            gamma: 0.025,
            eps: 1e-8,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`MARS`] needs to know.
    pub struct MARSCoeffs {
        /// 1/max(1, ‖c‖) for each tensor
        scale,
        /// gamma·β1/(1 − β1)
        correction,
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
    }
}

crate::fields! {
    /// What an element of [`MARS`] remembers.
    pub struct MARSState {
        /// m, the running mean of the corrected gradient
        exp_avg,
        /// v, the running mean of its square
        exp_avg_sq,
        /// the previous gradient
        last_grad,
    }
}

crate::fields! {
    /// What [`MARS`] knows of a whole tensor.
    pub struct MARSSums {
        /// ‖c‖
        corrected,
    }
}

impl MARS {
    /// c of one element.
    #[inline(always)]
    fn corrected<T: Real>(c: &MARSCoeffs<T>, g: T, s: &MARSState<T>) -> T {
        g + c.correction * (g - s.last_grad)
    }
}

impl Rule for MARS {
    const NAME: &'static str = "mars";
    const WGSL: &'static str = wgsl!("mars");
    type Coeffs<T: Copy> = MARSCoeffs<T>;
    type State<T: Copy> = MARSState<T>;
    type Sums<T: Copy> = MARSSums<T>;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, betas, gamma, eps, weight_decay, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("MARS")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .non_negative("gamma", self.gamma)
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
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> MARSCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let one = N::from(1.0);
        MARSCoeffs {
            scale: one,
            correction: (self.gamma * beta1 / (1.0 - beta1)).into(),
            step_size: N::from(self.lr) / (one - step.power(beta1)),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            inv_sqrt_bias2: one / (one - step.power(beta2)).sqrt(),
            eps: self.eps.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &MARSCoeffs<T>, p: T, g: T, s: &mut MARSState<T>) -> T {
        let x = c.scale * Self::corrected(c, g, s);
        s.last_grad = g;
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * x;
        s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * x * x;
        let denominator = s.exp_avg_sq.sqrt() * c.inv_sqrt_bias2 + c.eps;
        p - c.step_size * (s.exp_avg / denominator)
    }
    fn sum_kinds() -> MARSSums<SumKind> {
        MARSSums { corrected: SumKind::Norm }
    }
    #[inline(always)]
    fn summands<T: Real>(
        &self,
        c: &MARSCoeffs<T>,
        _: T,
        g: T,
        s: &mut MARSState<T>,
    ) -> MARSSums<T> {
        MARSSums { corrected: Self::corrected(c, g, s) }
    }
    fn with_sums(&self, c: MARSCoeffs<f64>, sums: &MARSSums<f64>) -> MARSCoeffs<f64> {
        // Written so that a NaN reaches the whole tensor.
        let scale = if sums.corrected <= 1.0 { 1.0 } else { 1.0 / sums.corrected };
        MARSCoeffs { scale, ..c }
    }
}
