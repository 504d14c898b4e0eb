//! Adam (Kingma and Ba 2015), AMSGrad (Reddi et al. 2018), AdamW (Loshchilov and Hutter 2019).

use crate::error::{Check, Error};
use crate::rule::{After, Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// Adam: steps of about `lr` each, by a running mean of the gradient over the root of a running
/// mean of its square.
///
/// ```text
/// g  ← g + weight_decay·p                       (coupled decay; AdamW: p ← p − lr·weight_decay·p)
/// m  ← β1·m + (1 − β1)·g                        exp_avg
/// v  ← β2·v + (1 − β2)·g²                       exp_avg_sq
/// x  ← max(x, v)                                max_exp_avg_sq, with `amsgrad`; otherwise x is v
/// p  ← p − lr/(1 − β1ᵗ) · m / (√x/√(1 − β2ᵗ) + eps)
/// ```
///
/// Defaults and names are PyTorch's. Kingma and Ba, *Adam: a method for stochastic optimization*,
/// ICLR 2015; for `amsgrad` Reddi, Kale and Kumar, *On the convergence of Adam and beyond*, ICLR
/// 2018.
///
/// ```
/// use wgpu_optim::{Adam, CpuOptimizer};
/// let mut optimizer = CpuOptimizer::<f32>::builder()
///     .group(Adam { lr: 0.1, ..Default::default() }, [("w", 1)])
///     .build()?;
/// optimizer.set_grad("w", &[2.0])?;
/// optimizer.step()?;
/// // The first step is lr, against the gradient.
/// assert!((optimizer.param("w")?[0] + 0.1).abs() < 1e-6);
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at least 0. Default 0 ([`AdamW`]: 1e-2).
    pub weight_decay: f64,
    /// Divide by the largest v so far instead of the present one. An option. Default false.
    pub amsgrad: bool,
    /// With `amsgrad`, take the maximum of the bias-corrected v, as optax does. Default false.
    pub max_after_correction: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
            max_after_correction: false,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`Adam`] or [`AdamW`] needs to know.
    pub struct AdamCoeffs {
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
        /// 1/√(1 − β2ᵗ), or 1 if the maximum is of what is corrected already
        inv_sqrt_bias2,
        /// eps
        eps,
        /// what v is multiplied by before the maximum is taken: 1, or 1/(1 − β2ᵗ)
        max_scale,
    }
}

crate::fields! {
    /// What an element of [`Adam`] or [`AdamW`] remembers.
    pub struct AdamState {
        /// m, the running mean of the gradient
        exp_avg,
        /// v, the running mean of its square
        exp_avg_sq,
        /// the largest v so far; in use with `amsgrad`
        max_exp_avg_sq,
    }
}

impl Adam {
    fn check(&self, rule: &'static str) -> Result<(), Error> {
        Check::new(rule)
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
}

impl Rule for Adam {
    const NAME: &'static str = "adam";
    const WGSL: &'static str = wgsl!("adam");
    type Coeffs<T: Copy> = AdamCoeffs<T>;
    type State<T: Copy> = AdamState<T>;
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
            amsgrad,
            max_after_correction,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        self.check("Adam")
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        vec![("amsgrad", self.amsgrad)]
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn initial_state(&self) -> AdamState<Option<f64>> {
        AdamState {
            exp_avg: Some(0.0),
            exp_avg_sq: Some(0.0),
            max_exp_avg_sq: self.amsgrad.then_some(0.0),
        }
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq", "max_exp_avg_sq"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> AdamCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let one = N::from(1.0);
        let bias2 = one - step.power(beta2);
        let corrected_before = self.amsgrad && self.max_after_correction;
        AdamCoeffs {
            step_size: N::from(self.lr) / (one - step.power(beta1)),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            inv_sqrt_bias2: if corrected_before { one } else { one / bias2.sqrt() },
            max_scale: if corrected_before { one / bias2 } else { one },
            eps: self.eps.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &AdamCoeffs<T>, p: T, g: T, s: &mut AdamState<T>) -> T {
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * g;
        s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * g * g;
        let mut second_moment = s.exp_avg_sq;
        if self.amsgrad {
            s.max_exp_avg_sq = s.max_exp_avg_sq.max(c.max_scale * s.exp_avg_sq);
            second_moment = s.max_exp_avg_sq;
        }
        let denominator = second_moment.sqrt() * c.inv_sqrt_bias2 + c.eps;
        p - c.step_size * (s.exp_avg / denominator)
    }
}

/// AdamW: [`Adam`] with decoupled weight decay, `p ← p − lr·weight_decay·p` before the step, and
/// a default `weight_decay` of 1e-2. All else is Adam's, the memory and the speed included.
///
/// Loshchilov and Hutter, *Decoupled weight decay regularization*, ICLR 2019.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at least 0. Default 1e-2.
    pub weight_decay: f64,
    /// Divide by the largest v so far instead of the present one. An option. Default false.
    pub amsgrad: bool,
    /// With `amsgrad`, take the maximum of the bias-corrected v, as optax does. Default false.
    pub max_after_correction: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        let Adam { lr, betas, eps, amsgrad, max_after_correction, maximize, .. } = Adam::default();
        Self { lr, betas, eps, weight_decay: 1e-2, amsgrad, max_after_correction, maximize }
    }
}

impl AdamW {
    /// The rule that AdamW is, but for how it decays.
    fn adam(&self) -> Adam {
        let Self { lr, betas, eps, weight_decay, amsgrad, max_after_correction, maximize } = *self;
        Adam { lr, betas, eps, weight_decay, amsgrad, max_after_correction, maximize }
    }
}

impl Rule for AdamW {
    const NAME: &'static str = "adamw";
    const WGSL: &'static str = Adam::WGSL;
    type Coeffs<T: Copy> = AdamCoeffs<T>;
    type State<T: Copy> = AdamState<T>;
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
            amsgrad,
            max_after_correction,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        self.adam().check("AdamW")
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        self.adam().options()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize)
    }
    fn after(&self) -> After {
        After::decay(self.lr, self.weight_decay)
    }
    fn initial_state(&self) -> AdamState<Option<f64>> {
        self.adam().initial_state()
    }
    fn non_negative_states() -> &'static [&'static str] {
        <Adam as Rule>::non_negative_states()
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> AdamCoeffs<N> {
        Rule::coeffs(&self.adam(), step, scalars)
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &AdamCoeffs<T>, p: T, g: T, s: &mut AdamState<T>) -> T {
        self.adam().update(c, p, g, s)
    }
}
