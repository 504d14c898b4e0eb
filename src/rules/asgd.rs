//! ASGD (Polyak and Juditsky 1992).

use crate::error::{Check, Error};
use crate::rule::{
    Before, Hyperparameter, MAX_EXPONENT, NoSums, Number, Real, Rule, StateInit, Step, real_power,
};

/// ASGD: gradient descent with a falling learning rate, beside the average of the parameter.
///
/// ```text
/// g  ← g + weight_decay·p
/// η  = lr at step 1, then lr/(1 + lambd·lr·(t − 1))^alpha        of the whole group
/// μ  = 1/max(1, t − 1 − t0)
/// p  ← p − lambd·η·p − η·g
/// ax ← p while μ is 1, then ax + μ·(p − ax)                      ax
/// ```
///
/// The average `ax` is what to evaluate with; the steps do not depend on it. η is computed at the
/// end of the step before, so that a new learning rate takes effect one step late, as in PyTorch,
/// whose defaults, names and formula these are; it keeps η and μ in f32, here they are f64. Polyak
/// and Juditsky, *Acceleration of stochastic approximation by averaging*, SIAM J. Control Optim.
/// 30, 1992.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ASGD {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// How fast η falls, and how much each step shrinks the parameter; at least 0. Default 1e-4.
    pub lambd: f64,
    /// The power of η's fall, from 0 to 16. Default 0.75.
    pub alpha: f64,
    /// The steps after which averaging starts, at least 0. Default 1e6.
    pub t0: f64,
    /// Coupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for ASGD {
    fn default() -> Self {
        Self { lr: 1e-2, lambd: 1e-4, alpha: 0.75, t0: 1e6, weight_decay: 0.0, maximize: false }
    }
}

crate::fields! {
    /// What a step of [`ASGD`] needs to know.
    pub struct ASGDCoeffs {
        /// η
        eta,
        /// lambd·η
        decay,
        /// μ
        mu,
    }
}

crate::fields! {
    /// What an element of [`ASGD`] remembers.
    pub struct ASGDState {
        /// the average of the parameter
        ax,
    }
}

/// Where a group's scalars have η: the step's, and the next one's, which PyTorch calls `eta`.
const STEP_ETA: usize = 0;
const ETA: usize = 1;

impl ASGD {
    /// η of the step after this one.
    fn eta_after<N: Number>(&self, step: N) -> N {
        let growth = N::from(self.lambd * self.lr) * step;
        N::from(self.lr) / real_power(N::from(1.0) + growth, self.alpha)
    }
}

impl Rule for ASGD {
    const NAME: &'static str = "asgd";
    const WGSL: &'static str = wgsl!("asgd");
    type Coeffs<T: Copy> = ASGDCoeffs<T>;
    type State<T: Copy> = ASGDState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, lambd, alpha, t0, weight_decay, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("ASGD")
            .non_negative("lr", self.lr)
            .non_negative("lambd", self.lambd)
            .that(
                (0.0..=MAX_EXPONENT).contains(&self.alpha),
                "alpha",
                "from 0 to 16",
                self.alpha,
                "Give such a power, usually 0.75",
            )
            .non_negative("t0", self.t0)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn scalars(&self) -> Vec<StateInit> {
        ["step_eta", "eta"].map(|name| StateInit { name, value: 0.0 }).to_vec()
    }
    fn advance<N: Number>(&self, step: Step<N>, scalars: &mut [N]) {
        let t = step.number();
        // Not the scalar's first value: the learning rate may change before the first step.
        scalars[STEP_ETA] = t.if_above(1.0.into(), scalars[ETA], self.lr.into());
        scalars[ETA] = self.eta_after(t);
    }
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        match steps {
            0 => vec![0.0; 2],
            1 => vec![self.lr, self.eta_after(1.0)],
            _ => [steps - 1, steps].map(|step| self.eta_after(step as f64)).to_vec(),
        }
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> ASGDCoeffs<N> {
        let one = N::from(1.0);
        let averaged = step.number() - N::from(1.0 + self.t0);
        ASGDCoeffs {
            eta: scalars[STEP_ETA],
            decay: N::from(self.lambd) * scalars[STEP_ETA],
            mu: averaged.if_above(one, one / averaged, one),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &ASGDCoeffs<T>, p: T, g: T, s: &mut ASGDState<T>) -> T {
        let moved = p - (c.decay * p + c.eta * g);
        // The average begins with the parameter itself.
        let begins = c.mu == T::from_f64(1.0);
        s.ax = if begins { moved } else { s.ax + c.mu * (moved - s.ax) };
        moved
    }
}
