//! RMSprop (Hinton 2012), centered RMSprop (Graves 2013).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// RMSprop: the gradient over the root of a running mean of its square.
///
/// ```text
/// g   ← g + weight_decay·p
/// sq  ← α·sq + (1 − α)·g²                  square_avg
/// avg ← α·avg + (1 − α)·g                  grad_avg, with `centered`
/// r   = sq − avg²  with `centered`, otherwise sq; of the averages after the step
/// d   = g/(√r + eps)
/// buf ← momentum·buf + d                   momentum_buffer, with momentum above 0
/// p   ← p − lr·buf  with momentum, otherwise  p − lr·d
/// ```
///
/// With `eps_in_sqrt` the divisor is √(r + eps), as in optax and TensorFlow. Defaults and names are
/// PyTorch's.
///
/// Where a gradient hardly varies, `sq − avg²` loses all its digits: what PyTorch makes of it is
/// noise, or NaN where it rounds below zero. Here r is computed as
/// `α·(max(sq − avg², 2⁻²³·sq) + (1 − α)·(g − avg)²)` of the averages before the step, with f32's
/// resolution as the floor (on the CPU in f64 too): the same number wherever it has digits in f32,
/// and never negative.
///
/// Where momentum is scheduled from 0 or to 0, `keep_momentum_buffer` keeps the buffer at 0 too,
/// when buf is d.
///
/// Hinton, *Neural networks for machine learning*, lecture 6e, 2012; for `centered` Graves,
/// *Generating sequences with recurrent neural networks*, 2013.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RMSprop {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// The share of the old averages that a step keeps, in [0, 1). Default 0.99.
    pub alpha: f64,
    /// Keeps the divisor from zero, at least 0. Default 1e-8.
    pub eps: f64,
    /// Coupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// Momentum, at least 0. Default 0, which keeps no buffer; see `keep_momentum_buffer`.
    pub momentum: f64,
    /// Keep the buffer even where momentum is 0, so that it can grow from 0. It is an option
    /// whether there is a buffer, by this or by a momentum above 0; an optimizer that was built
    /// with one keeps it when [`set_rule`](crate::Optimizer::set_rule) brings momentum to 0.
    /// Default false.
    pub keep_momentum_buffer: bool,
    /// Keep lr inside the momentum buffer, buf ← momentum·buf + lr·d and p ← p − buf, as TensorFlow
    /// does: the same until the learning rate changes. Default false.
    pub lr_in_momentum: bool,
    /// sq before the first step, at least 0 (1 in TensorFlow 1). It is read when the optimizer is
    /// built; a later change has no effect. Default 0.
    pub initial_square_avg: f64,
    /// Divide by the gradient's deviation from its mean. An option. Default false.
    pub centered: bool,
    /// Add eps under the root instead of to it. An option. Default false.
    pub eps_in_sqrt: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for RMSprop {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            keep_momentum_buffer: false,
            lr_in_momentum: false,
            initial_square_avg: 0.0,
            centered: false,
            eps_in_sqrt: false,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`RMSprop`] needs to know.
    pub struct RMSpropCoeffs {
        /// what the parameter takes of d or buf: lr, or 1 if the buffer has it
        step_size,
        /// what the buffer takes of d: 1, or lr
        gain,
        /// α
        alpha,
        /// 1 − α
        one_minus_alpha,
        /// eps
        eps,
        /// momentum
        momentum,
    }
}

crate::fields! {
    /// What an element of [`RMSprop`] remembers.
    pub struct RMSpropState {
        /// sq, the running mean of the squared gradient
        square_avg,
        /// avg, the running mean of the gradient; in use with `centered`
        grad_avg,
        /// buf; in use with momentum, or where it is kept
        momentum_buffer,
    }
}

/// f32's, the distance from 1 to the next number; as in the WGSL.
const RESOLUTION: f64 = f32::EPSILON as f64;

impl RMSprop {
    fn has_momentum(&self) -> bool {
        self.momentum > 0.0 || self.keep_momentum_buffer
    }

    /// r with `centered`. Averages move by a part of their distance to the new value: with α and
    /// 1 − α, each rounded, they would settle off it, avg² by more than sq. Of a variance below the
    /// square's resolution nothing is known; without a floor such elements would be divided by eps.
    #[inline(always)]
    fn variance<T: Real>(c: &RMSpropCoeffs<T>, g: T, s: &mut RMSpropState<T>) -> T {
        let (square_avg, grad_avg) = (s.square_avg, s.grad_avg);
        let stray = g - grad_avg;
        s.grad_avg = grad_avg + c.one_minus_alpha * stray;
        let moved = square_avg + c.one_minus_alpha * (g * g - square_avg);
        // An infinite average stays, as it does without `centered`.
        s.square_avg = if square_avg < T::from_f64(f64::INFINITY) { moved } else { square_avg };
        let known = (square_avg - grad_avg * grad_avg).max(T::from_f64(RESOLUTION) * square_avg);
        c.alpha * (known + c.one_minus_alpha * stray * stray)
    }
}

impl Rule for RMSprop {
    const NAME: &'static str = "rmsprop";
    const WGSL: &'static str = wgsl!("rmsprop");
    type Coeffs<T: Copy> = RMSpropCoeffs<T>;
    type State<T: Copy> = RMSpropState<T>;
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
            alpha,
            eps,
            weight_decay,
            momentum,
            keep_momentum_buffer,
            lr_in_momentum,
            initial_square_avg,
            centered,
            eps_in_sqrt,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("RMSprop")
            .non_negative("lr", self.lr)
            .decay_rate("alpha", self.alpha)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .non_negative("momentum", self.momentum)
            .not_vanishing("initial_square_avg", self.initial_square_avg)
            .finish()
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        vec![
            ("centered", self.centered),
            ("has_momentum", self.has_momentum()),
            ("eps_in_sqrt", self.eps_in_sqrt),
        ]
    }
    fn keep_options(&mut self, built: &Self) {
        self.keep_momentum_buffer |= built.has_momentum() && !self.has_momentum();
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn initial_state(&self) -> RMSpropState<Option<f64>> {
        RMSpropState {
            square_avg: Some(self.initial_square_avg),
            grad_avg: self.centered.then_some(0.0),
            momentum_buffer: self.has_momentum().then_some(0.0),
        }
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["square_avg"]
    }
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> RMSpropCoeffs<N> {
        let folded = self.has_momentum() && self.lr_in_momentum;
        RMSpropCoeffs {
            step_size: if folded { 1.0 } else { self.lr }.into(),
            gain: if folded { self.lr } else { 1.0 }.into(),
            alpha: self.alpha.into(),
            one_minus_alpha: (1.0 - self.alpha).into(),
            eps: self.eps.into(),
            momentum: self.momentum.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &RMSpropCoeffs<T>, p: T, g: T, s: &mut RMSpropState<T>) -> T {
        let radicand = if self.centered {
            Self::variance(c, g, s)
        } else {
            s.square_avg = c.alpha * s.square_avg + c.one_minus_alpha * g * g;
            s.square_avg
        };
        let root =
            if self.eps_in_sqrt { (radicand + c.eps).sqrt() } else { radicand.sqrt() + c.eps };
        let mut direction = g / root;
        if self.has_momentum() {
            s.momentum_buffer = c.momentum * s.momentum_buffer + c.gain * direction;
            direction = s.momentum_buffer;
        }
        p - c.step_size * direction
    }
}
