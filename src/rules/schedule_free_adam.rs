//! Schedule-Free AdamW and RAdam (Defazio et al. 2024).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, StateInit, Step};
use crate::rules::schedule_free_sgd::{Averaging, evaluation};

/// Schedule-Free AdamW: AdamW that needs no schedule, since it averages its way instead.
///
/// ```text
/// y is the parameter; z is y before the first step
/// v ← β2·v + (1 − β2)·g²                        exp_avg_sq
/// ĝ = g/(√v/√(1 − β2ᵗ) + eps) + weight_decay·y
/// a = lr·min(1, t/warmup_steps)
/// w = tʳ·lr_maxᵖ, with lr_max the largest a so far and p the weight_lr_power
/// c = w/weight_sum, the sum of all w, or 0 while that is 0
/// y ← y + c·(z − y) − a·(1 − β1·(1 − c))·ĝ
/// z ← z − a·ĝ                                   z
/// ```
///
/// The parameter is y, where gradients are to be taken. What to evaluate with, and to publish, is
/// the average x = y + (1 − 1/β1)·(z − y), by [`evaluation`](Self::evaluation). There is no mean of
/// the gradients: β1 takes its place. For the library schedulefree and its modes see
/// [`ScheduleFreeSGD`](crate::ScheduleFreeSGD); defaults and names are its own, and optax's form,
/// which keeps x, is the same algebra. Defazio, Yang, Mehta, Mishchenko, Khaled and Cutkosky, *The
/// road less scheduled*, NeurIPS 2024.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeAdamW {
    /// Learning rate, at least 0. Default 2.5e-3.
    pub lr: f64,
    /// β1, in (0, 1): where between z (at 0) and the average (at 1) gradients are taken; and β2,
    /// the share of the old v that a step keeps, in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay at y, at least 0. Default 0.
    pub weight_decay: f64,
    /// The steps over which the learning rate grows; 0 for none. Default 0.
    pub warmup_steps: f64,
    /// The power of the step in the average's weights, from 0 to 16. Above 0, setting a step count
    /// goes through all steps. Default 0.
    pub r: f64,
    /// The power of the learning rate in the average's weights, from 0 to 16. Default 2.
    pub weight_lr_power: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for ScheduleFreeAdamW {
    fn default() -> Self {
        Self {
            lr: 2.5e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            warmup_steps: 0.0,
            r: 0.0,
            weight_lr_power: 2.0,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`ScheduleFreeAdamW`] or [`ScheduleFreeRAdam`] needs to know.
    pub struct ScheduleFreeAdamCoeffs {
        /// 1 at the first step, otherwise 0
        first,
        /// c
        share,
        /// a
        z_step,
        /// a·(1 − β1·(1 − c))
        y_step,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
        /// 1 where the gradient is divided, otherwise 0
        normalizes,
        /// 1/√(1 − β2ᵗ)
        inv_sqrt_bias2,
        /// eps
        eps,
        /// weight_decay
        weight_decay,
    }
}

crate::fields! {
    /// What an element of [`ScheduleFreeAdamW`] or [`ScheduleFreeRAdam`] remembers.
    pub struct ScheduleFreeAdamState {
        /// where the rule would be without averaging
        z,
        /// v, the running mean of the gradient's square
        exp_avg_sq,
    }
}

/// What both rules compute alike.
struct Common {
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    averaging: Averaging,
}

impl Common {
    fn check(&self, rule: &'static str, lr: f64) -> Result<(), Error> {
        let check = Check::new(rule)
            .decay_rate("betas.1", self.betas.1)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay);
        self.averaging.check(check, lr, ("betas.0", self.betas.0)).finish()
    }

    /// The coefficients of a step whose learning rate is `z_step`.
    fn coeffs<N: Number>(
        &self,
        step: Step<N>,
        scalars: &[N],
        z_step: N,
        normalizes: N,
    ) -> ScheduleFreeAdamCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let (t, one) = (step.number(), N::from(1.0));
        let share = self.averaging.share(t, scalars);
        ScheduleFreeAdamCoeffs {
            first: t.if_above(one, 0.0.into(), one),
            share,
            z_step,
            y_step: z_step * (one - N::from(beta1) * (one - share)),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            normalizes,
            inv_sqrt_bias2: one / (one - step.power(beta2)).sqrt(),
            eps: self.eps.into(),
            weight_decay: self.weight_decay.into(),
        }
    }
}

#[inline(always)]
fn update<T: Real>(
    c: &ScheduleFreeAdamCoeffs<T>,
    p: T,
    g: T,
    s: &mut ScheduleFreeAdamState<T>,
) -> T {
    let zero = T::default();
    let z = if c.first > zero { p } else { s.z };
    s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * g * g;
    let root = s.exp_avg_sq.sqrt() * c.inv_sqrt_bias2 + c.eps;
    let denominator = if c.normalizes > zero { root } else { T::from_f64(1.0) };
    let direction = g / denominator + c.weight_decay * p;
    s.z = z - c.z_step * direction;
    p + (c.share * (z - p) - c.y_step * direction)
}

impl ScheduleFreeAdamW {
    fn common(&self) -> Common {
        let Self { betas, eps, weight_decay, r, weight_lr_power, warmup_steps, .. } = *self;
        let averaging = Averaging { r, weight_lr_power, warmup_steps };
        Common { betas, eps, weight_decay, averaging }
    }

    /// a
    fn scheduled_lr<N: Number>(&self, t: N) -> N {
        self.common().averaging.warmed(self.lr, t)
    }

    /// The element to evaluate with, of a parameter's element and its state `z`.
    pub fn evaluation<T: Real>(&self, param: T, z: T) -> T {
        evaluation(self.betas.0, param, z)
    }
}

impl Rule for ScheduleFreeAdamW {
    const NAME: &'static str = "schedulefreeadamw";
    const WGSL: &'static str = wgsl!("schedule_free_adam");
    type Coeffs<T: Copy> = ScheduleFreeAdamCoeffs<T>;
    type State<T: Copy> = ScheduleFreeAdamState<T>;
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
            warmup_steps,
            r,
            weight_lr_power,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        self.common().check("ScheduleFreeAdamW", self.lr)
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize)
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq"]
    }
    fn scalars(&self) -> Vec<StateInit> {
        Averaging::scalars()
    }
    fn advance<N: Number>(&self, step: Step<N>, scalars: &mut [N]) {
        let t = step.number();
        self.common().averaging.advance(t, self.scheduled_lr(t), scalars);
    }
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        let settled = |t| t >= self.warmup_steps;
        self.common().averaging.scalars_after(steps, |t| self.scheduled_lr(t), settled)
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> ScheduleFreeAdamCoeffs<N> {
        self.common().coeffs(step, scalars, self.scheduled_lr(step.number()), 1.0.into())
    }
    #[inline(always)]
    fn update<T: Real>(
        &self,
        c: &ScheduleFreeAdamCoeffs<T>,
        p: T,
        g: T,
        s: &mut ScheduleFreeAdamState<T>,
    ) -> T {
        update(c, p, g, s)
    }
}

/// Schedule-Free RAdam: [`ScheduleFreeAdamW`] that waits with its adaptive step until the second
/// moment's variance is bounded, and so needs no warm-up.
///
/// ```text
/// ρ∞ = 2/(1 − β2) − 1,  ρt = ρ∞ − 2t·β2ᵗ/(1 − β2ᵗ)
/// a  = lr·√[(ρt − 4)(ρt − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρt)]   if ρt > 4; otherwise
/// a  = 0 with `silent_sgd_phase`, or lr, and ĝ = g + weight_decay·y
/// ```
///
/// All else is ScheduleFreeAdamW's. [`RAdam`](crate::RAdam) waits for ρt > 5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeRAdam {
    /// Learning rate, at least 0. Default 2.5e-3.
    pub lr: f64,
    /// β1, in (0, 1): where between z (at 0) and the average (at 1) gradients are taken; and β2,
    /// the share of the old v that a step keeps, in [0, 1). Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay at y, at least 0. Default 0.
    pub weight_decay: f64,
    /// The power of the step in the average's weights, from 0 to 16. Above 0, setting a step count
    /// goes through all steps. Default 0.
    pub r: f64,
    /// The power of the learning rate in the average's weights, from 0 to 16. Default 2.
    pub weight_lr_power: f64,
    /// Change no parameter before the step is adaptive, instead of stepping by the plain gradient.
    /// Default true.
    pub silent_sgd_phase: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for ScheduleFreeRAdam {
    fn default() -> Self {
        Self {
            lr: 2.5e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            r: 0.0,
            weight_lr_power: 2.0,
            silent_sgd_phase: true,
            maximize: false,
        }
    }
}

impl ScheduleFreeRAdam {
    fn common(&self) -> Common {
        let Self { betas, eps, weight_decay, r, weight_lr_power, .. } = *self;
        let averaging = Averaging { r, weight_lr_power, warmup_steps: 0.0 };
        Common { betas, eps, weight_decay, averaging }
    }

    /// ρ∞
    fn limit(&self) -> f64 {
        2.0 / (1.0 - self.betas.1) - 1.0
    }

    /// ρt
    fn length<N: Number>(&self, step: Step<N>) -> N {
        let power = step.power(self.betas.1);
        N::from(self.limit()) - N::from(2.0) * step.number() * power / (N::from(1.0) - power)
    }

    /// a, and whether the gradient is divided.
    fn scheduled_lr<N: Number>(&self, step: Step<N>) -> (N, N) {
        let (limit, length) = (self.limit(), self.length(step));
        let (zero, one, two, four) = (N::from(0.0), N::from(1.0), N::from(2.0), N::from(4.0));
        let scale = N::from(limit / ((limit - 4.0) * (limit - 2.0)));
        let rectification = ((length - four) * (length - two) / length * scale).sqrt();
        let lr = N::from(self.lr);
        let before = if self.silent_sgd_phase { zero } else { lr };
        (length.if_above(four, lr * rectification, before), length.if_above(four, one, zero))
    }

    /// The element to evaluate with, of a parameter's element and its state `z`.
    pub fn evaluation<T: Real>(&self, param: T, z: T) -> T {
        evaluation(self.betas.0, param, z)
    }
}

impl Rule for ScheduleFreeRAdam {
    const NAME: &'static str = "schedulefreeradam";
    const WGSL: &'static str = ScheduleFreeAdamW::WGSL;
    type Coeffs<T: Copy> = ScheduleFreeAdamCoeffs<T>;
    type State<T: Copy> = ScheduleFreeAdamState<T>;
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
            r,
            weight_lr_power,
            silent_sgd_phase,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        self.common().check("ScheduleFreeRAdam", self.lr)?;
        Check::new("ScheduleFreeRAdam")
            .that(
                !self.silent_sgd_phase || self.limit() > 4.0,
                "betas.1",
                "above 0.6 with `silent_sgd_phase`, since no step is adaptive otherwise",
                self.betas.1,
                "Give a larger one, such as 0.999, or switch `silent_sgd_phase` off",
            )
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize)
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq"]
    }
    fn scalars(&self) -> Vec<StateInit> {
        Averaging::scalars()
    }
    fn advance<N: Number>(&self, step: Step<N>, scalars: &mut [N]) {
        let lr = self.scheduled_lr(step).0;
        self.common().averaging.advance(step.number(), lr, scalars);
    }
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        // What a step takes from ρ∞ only shrinks from where it is below the last digit.
        let settled = |t| self.length(Step::new(t)) == self.limit();
        let lr = |t| self.scheduled_lr(Step::new(t)).0;
        self.common().averaging.scalars_after(steps, lr, settled)
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> ScheduleFreeAdamCoeffs<N> {
        let (lr, normalizes) = self.scheduled_lr(step);
        self.common().coeffs(step, scalars, lr, normalizes)
    }
    #[inline(always)]
    fn update<T: Real>(
        &self,
        c: &ScheduleFreeAdamCoeffs<T>,
        p: T,
        g: T,
        s: &mut ScheduleFreeAdamState<T>,
    ) -> T {
        update(c, p, g, s)
    }
}
