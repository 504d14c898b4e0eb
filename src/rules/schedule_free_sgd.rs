//! Schedule-Free SGD, and the average that all Schedule-Free rules keep (Defazio et al. 2024).

use crate::error::{Check, Error};
use crate::rule::{
    Before, Hyperparameter, MAX_EXPONENT, NoSums, Number, Real, Rule, StateInit, Step, real_power,
};

/// Schedule-Free SGD: gradient descent that needs no schedule, since it averages its way instead.
///
/// ```text
/// g ← g + weight_decay·y                        y is the parameter; z is y before the first step
/// a = lr·min(1, t/warmup_steps)
/// w = tʳ·lr_maxᵖ, with lr_max the largest a so far and p the weight_lr_power
/// c = w/weight_sum, the sum of all w, or 0 while that is 0
/// y ← y + c·(z − y) − a·(1 − momentum·(1 − c))·g
/// z ← z − a·g                                   z
/// ```
///
/// The parameter is y, where gradients are to be taken. What to evaluate with, and to publish, is
/// the average x = y + (1 − 1/momentum)·(z − y), by [`evaluation`](Self::evaluation): keep y to go
/// on with. The learning rate needs no schedule, and averaging x once more is of no use.
///
/// Defaults and names are those of the library schedulefree, whose states these are, in its
/// training mode (`optimizer.train()`): in its evaluation mode the parameter is x, and
/// y = x + (1 − momentum)·(z − x). `weight_sum` and `lr_max` belong to the whole group. z is as
/// exact as the parameter is only in f32. Defazio, Yang, Mehta, Mishchenko, Khaled and Cutkosky,
/// *The road less scheduled*, NeurIPS 2024.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeSGD {
    /// Learning rate, at least 0. Default 1.
    pub lr: f64,
    /// Where between z (at 0) and the average (at 1) gradients are taken, in (0, 1). Default 0.9.
    pub momentum: f64,
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

impl Default for ScheduleFreeSGD {
    fn default() -> Self {
        Self {
            lr: 1.0,
            momentum: 0.9,
            weight_decay: 0.0,
            warmup_steps: 0.0,
            r: 0.0,
            weight_lr_power: 2.0,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`ScheduleFreeSGD`] needs to know.
    pub struct ScheduleFreeSGDCoeffs {
        /// 1 at the first step, otherwise 0
        first,
        /// c
        share,
        /// a
        z_step,
        /// a·(1 − momentum·(1 − c))
        y_step,
    }
}

crate::fields! {
    /// What an element of [`ScheduleFreeSGD`] remembers.
    pub struct ScheduleFreeSGDState {
        /// where plain gradient descent would be
        z,
    }
}

/// How a Schedule-Free rule weights its steps. What it keeps of the whole group are the sum of the
/// weights and the largest learning rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Averaging {
    pub r: f64,
    pub weight_lr_power: f64,
    pub warmup_steps: f64,
}

const WEIGHT_SUM: usize = 0;
const LR_MAX: usize = 1;

impl Averaging {
    pub fn scalars() -> Vec<StateInit> {
        ["weight_sum", "lr_max"].map(|name| StateInit { name, value: 0.0 }).to_vec()
    }

    /// Checks what all Schedule-Free rules have; `beta` is the name and value of the share of y
    /// that is the average.
    pub fn check<'a>(self, check: Check<'a>, lr: f64, beta: (&str, f64)) -> Check<'a> {
        let power = |check: Check<'a>, name, value: f64| {
            let is_in = (0.0..=MAX_EXPONENT).contains(&value);
            check.that(is_in, name, "from 0 to 16", value, "Give such a power, usually the default")
        };
        let check = check
            .non_negative("lr", lr)
            .decay_rate(beta.0, beta.1)
            .that(beta.1 > 0.0, beta.0, "above 0", beta.1, "Give such a share, usually 0.9")
            .non_negative("warmup_steps", self.warmup_steps);
        let check = power(power(check, "r", self.r), "weight_lr_power", self.weight_lr_power);
        // That many steps may be counted.
        let most = f64::from(u32::MAX).powf(self.r + 1.0) * lr.powf(self.weight_lr_power);
        let expected = "so small that the sum of the weights of 2³² steps is finite";
        let remedy = "Give a smaller power, usually 2, or a smaller learning rate";
        check.that(most.is_finite(), "weight_lr_power", expected, self.weight_lr_power, remedy)
    }

    /// The learning rate of a step, in the warm-up smaller.
    pub fn warmed<N: Number>(self, lr: f64, t: N) -> N {
        let (lr, warm_up) = (N::from(lr), N::from(self.warmup_steps));
        if self.warmup_steps == 0.0 {
            return lr;
        }
        warm_up.if_above(t, lr * (t / warm_up), lr)
    }

    fn weight<N: Number>(self, t: N, lr_max: N) -> N {
        real_power(t, self.r) * real_power(lr_max, self.weight_lr_power)
    }

    /// Takes the scalars to step t, of this learning rate.
    pub fn advance<N: Number>(self, t: N, lr: N, scalars: &mut [N]) {
        scalars[LR_MAX] = lr.if_above(scalars[LR_MAX], lr, scalars[LR_MAX]);
        scalars[WEIGHT_SUM] = scalars[WEIGHT_SUM] + self.weight(t, scalars[LR_MAX]);
    }

    /// c at step t.
    pub fn share<N: Number>(self, t: N, scalars: &[N]) -> N {
        let (zero, sum) = (N::from(0.0), scalars[WEIGHT_SUM]);
        sum.if_above(zero, self.weight(t, scalars[LR_MAX]) / sum, zero)
    }

    /// The scalars after so many steps of these learning rates, which `settled` says do not change
    /// after a step.
    pub fn scalars_after(
        self,
        steps: u64,
        lr: impl Fn(f64) -> f64,
        settled: impl Fn(f64) -> bool,
    ) -> Vec<f64> {
        let mut scalars = [0.0; 2];
        for step in 1..=steps {
            let t = step as f64;
            self.advance(t, lr(t), &mut scalars);
            if self.r == 0.0 && settled(t) {
                let weight = self.weight(t, scalars[LR_MAX]);
                scalars[WEIGHT_SUM] = repeated_sum(scalars[WEIGHT_SUM], weight, steps - step);
                break;
            }
        }
        scalars.to_vec()
    }
}

/// A sum after so many additions of the same term, with the bits of one addition after the other.
fn repeated_sum(sum: f64, term: f64, count: u64) -> f64 {
    let binade = |x: f64| x.to_bits() >> 52;
    let (mut sum, mut left) = (sum, count);
    while left > 0 {
        let before = sum;
        sum += term;
        left -= 1;
        let growth = sum + term - sum;
        if [before, sum + term].map(binade) != [binade(sum); 2] {
            continue;
        }
        // Within a binade the places of sums are equally far apart, so that after one addition (by
        // which a tie has become even) each rounds to the same growth, up to the binade's end.
        let end = f64::from_bits((binade(sum) + 1) << 52);
        let jumps = (((end - sum) / growth).floor() - 1.0).clamp(0.0, left as f64);
        sum += jumps * growth;
        left -= jumps as u64;
    }
    sum
}

/// The average x of y and z.
pub(super) fn evaluation<T: Real>(beta: f64, y: T, z: T) -> T {
    y + T::from_f64(1.0 - 1.0 / beta) * (z - y)
}

impl ScheduleFreeSGD {
    fn averaging(&self) -> Averaging {
        let Self { r, weight_lr_power, warmup_steps, .. } = *self;
        Averaging { r, weight_lr_power, warmup_steps }
    }

    /// The element to evaluate with, of a parameter's element and its state `z`.
    pub fn evaluation<T: Real>(&self, param: T, z: T) -> T {
        evaluation(self.momentum, param, z)
    }
}

impl Rule for ScheduleFreeSGD {
    const NAME: &'static str = "schedulefreesgd";
    const WGSL: &'static str = wgsl!("schedule_free_sgd");
    type Coeffs<T: Copy> = ScheduleFreeSGDCoeffs<T>;
    type State<T: Copy> = ScheduleFreeSGDState<T>;
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
            momentum,
            weight_decay,
            warmup_steps,
            r,
            weight_lr_power,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        let check = Check::new("ScheduleFreeSGD").non_negative("weight_decay", self.weight_decay);
        self.averaging().check(check, self.lr, ("momentum", self.momentum)).finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn scalars(&self) -> Vec<StateInit> {
        Averaging::scalars()
    }
    fn advance<N: Number>(&self, step: Step<N>, scalars: &mut [N]) {
        let (averaging, t) = (self.averaging(), step.number());
        averaging.advance(t, averaging.warmed(self.lr, t), scalars);
    }
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        let averaging = self.averaging();
        let lr = |t| averaging.warmed(self.lr, t);
        averaging.scalars_after(steps, lr, |t| t >= self.warmup_steps)
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> ScheduleFreeSGDCoeffs<N> {
        let (averaging, t, one) = (self.averaging(), step.number(), N::from(1.0));
        let share = averaging.share(t, scalars);
        let z_step = averaging.warmed(self.lr, t);
        ScheduleFreeSGDCoeffs {
            first: t.if_above(one, 0.0.into(), one),
            share,
            z_step,
            y_step: z_step * (one - N::from(self.momentum) * (one - share)),
        }
    }
    #[inline(always)]
    fn update<T: Real>(
        &self,
        c: &ScheduleFreeSGDCoeffs<T>,
        p: T,
        g: T,
        s: &mut ScheduleFreeSGDState<T>,
    ) -> T {
        let z = if c.first > T::default() { p } else { s.z };
        s.z = z - c.z_step * g;
        p + (c.share * (z - p) - c.y_step * g)
    }
}
