//! Stochastic gradient descent, with momentum (Polyak 1964) and Nesterov's (1983).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// SGD: plain gradient descent, or with momentum.
///
/// ```text
/// g   ← g + weight_decay·p
/// buf ← g at the first step, then momentum·buf + (1 − dampening)·g     momentum_buffer
/// d   = g + momentum·buf  with `nesterov`, otherwise buf; without momentum g
/// p   ← p − lr·d
/// ```
///
/// Without momentum there is no state. Where momentum is scheduled from 0 or to 0,
/// `keep_momentum_buffer` keeps it at 0 too, when buf is (1 − dampening)·g.
///
/// Defaults and names are PyTorch's. PyTorch has no step count here: that its buffer exists tells
/// it that a first step was taken. To resume its run, set the buffer *and* a step count of at least
/// 1 ([`set_steps`](crate::Optimizer::set_steps)); otherwise the first step takes the gradient
/// undampened. Sutskever, Martens, Dahl
/// and Hinton, *On the importance of initialization and momentum in deep learning*, ICML 2013.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SGD {
    /// Learning rate, at least 0. Default 1e-3.
    pub lr: f64,
    /// Momentum, at least 0. Default 0, which keeps no buffer; see `keep_momentum_buffer`.
    pub momentum: f64,
    /// Keep the buffer even where momentum is 0, so that it can grow from 0. It is an option
    /// whether there is a buffer, by this or by a momentum above 0; an optimizer that was built
    /// with one keeps it when [`set_rule`](crate::Optimizer::set_rule) brings momentum to 0.
    /// Default false.
    pub keep_momentum_buffer: bool,
    /// What the momentum buffer does not take of a gradient, except of the first. Default 0.
    pub dampening: f64,
    /// Coupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Look ahead by one step of momentum; needs momentum and no dampening. An option. Default
    /// false.
    pub nesterov: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for SGD {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            keep_momentum_buffer: false,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`SGD`] needs to know.
    pub struct SGDCoeffs {
        /// lr
        lr,
        /// momentum
        momentum,
        /// what the buffer takes of the gradient: 1 at the first step, then 1 − dampening
        gain,
    }
}

crate::fields! {
    /// What an element of [`SGD`] remembers.
    pub struct SGDState {
        /// buf; in use with momentum, or where it is kept
        momentum_buffer,
    }
}

impl SGD {
    fn has_momentum(&self) -> bool {
        self.momentum > 0.0 || self.keep_momentum_buffer
    }
}

impl Rule for SGD {
    const NAME: &'static str = "sgd";
    const WGSL: &'static str = wgsl!("sgd");
    type Coeffs<T: Copy> = SGDCoeffs<T>;
    type State<T: Copy> = SGDState<T>;
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
            keep_momentum_buffer,
            dampening,
            weight_decay,
            nesterov,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("SGD")
            .non_negative("lr", self.lr)
            .non_negative("momentum", self.momentum)
            .that(
                self.dampening.is_finite(),
                "dampening",
                "a finite number",
                self.dampening,
                "Give such a number, usually 0",
            )
            .finite_as_f32("dampening", self.dampening)
            .non_negative("weight_decay", self.weight_decay)
            .that(
                !self.nesterov || (self.has_momentum() && self.dampening == 0.0),
                "nesterov",
                "used with momentum above 0 (or `keep_momentum_buffer`) and dampening 0",
                format!("momentum {} and dampening {}", self.momentum, self.dampening),
                "Set these two so, or switch nesterov off",
            )
            .finish()
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        vec![("has_momentum", self.has_momentum()), ("nesterov", self.nesterov)]
    }
    fn keep_options(&mut self, built: &Self) {
        self.keep_momentum_buffer |= built.has_momentum() && !self.has_momentum();
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn initial_state(&self) -> SGDState<Option<f64>> {
        SGDState { momentum_buffer: self.has_momentum().then_some(0.0) }
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> SGDCoeffs<N> {
        let later = N::from(1.0 - self.dampening);
        SGDCoeffs {
            lr: self.lr.into(),
            momentum: self.momentum.into(),
            gain: step.number().if_above(1.0.into(), later, 1.0.into()),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &SGDCoeffs<T>, p: T, g: T, s: &mut SGDState<T>) -> T {
        let mut direction = g;
        if self.has_momentum() {
            s.momentum_buffer = c.momentum * s.momentum_buffer + c.gain * g;
            direction =
                if self.nesterov { g + c.momentum * s.momentum_buffer } else { s.momentum_buffer };
        }
        p - c.lr * direction
    }
}
