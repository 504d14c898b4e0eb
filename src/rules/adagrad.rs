//! AdaGrad (Duchi, Hazan and Singer 2011).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// AdaGrad: each element's steps shrink with the root of the sum of its squared gradients.
///
/// ```text
/// g   ← g + weight_decay·p
/// sum ← sum + g²
/// p   ← p − lr/(1 + (t − 1)·lr_decay) · g/(√sum + eps)
/// ```
///
/// With `eps_in_sqrt` the divisor is √(sum + eps), as in optax and TensorFlow. Defaults and names
/// are PyTorch's. Duchi, Hazan and Singer, *Adaptive subgradient methods for online learning and
/// stochastic optimization*, JMLR 12, 2011.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adagrad {
    /// Learning rate, at least 0. Default 1e-2.
    pub lr: f64,
    /// How fast the learning rate falls, at least 0: at step t it is lr/(1 + (t − 1)·lr_decay).
    /// Default 0.
    pub lr_decay: f64,
    /// Coupled weight decay, at least 0. Default 0.
    pub weight_decay: f64,
    /// The state's value before the first step, at least 0. Default 0 (optax: 0.1). It is read when
    /// the optimizer is built; a later change has no effect.
    pub initial_accumulator_value: f64,
    /// Keeps the divisor from zero, at least 0. Default 1e-10.
    pub eps: f64,
    /// Add eps under the root instead of to it. An option. Default false.
    pub eps_in_sqrt: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            lr_decay: 0.0,
            weight_decay: 0.0,
            initial_accumulator_value: 0.0,
            eps: 1e-10,
            eps_in_sqrt: false,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`Adagrad`] needs to know.
    pub struct AdagradCoeffs {
        /// lr/(1 + (t − 1)·lr_decay)
        step_size,
        /// eps
        eps,
    }
}

crate::fields! {
    /// What an element of [`Adagrad`] remembers.
    pub struct AdagradState {
        /// the sum of the squared gradients
        sum,
    }
}

impl Rule for Adagrad {
    const NAME: &'static str = "adagrad";
    const WGSL: &'static str = wgsl!("adagrad");
    type Coeffs<T: Copy> = AdagradCoeffs<T>;
    type State<T: Copy> = AdagradState<T>;
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
            lr_decay,
            weight_decay,
            initial_accumulator_value,
            eps,
            eps_in_sqrt,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Adagrad")
            .non_negative("lr", self.lr)
            .non_negative("lr_decay", self.lr_decay)
            .non_negative("weight_decay", self.weight_decay)
            .not_vanishing("initial_accumulator_value", self.initial_accumulator_value)
            .not_vanishing("eps", self.eps)
            .finish()
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        vec![("eps_in_sqrt", self.eps_in_sqrt)]
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn initial_state(&self) -> AdagradState<Option<f64>> {
        AdagradState { sum: Some(self.initial_accumulator_value) }
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["sum"]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, _: &[N]) -> AdagradCoeffs<N> {
        let (lr, one) = (N::from(self.lr), N::from(1.0));
        let elapsed = step.number() - one;
        AdagradCoeffs {
            step_size: lr / (one + elapsed * self.lr_decay.into()),
            eps: self.eps.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &AdagradCoeffs<T>, p: T, g: T, s: &mut AdagradState<T>) -> T {
        s.sum = s.sum + g * g;
        let root = if self.eps_in_sqrt { (s.sum + c.eps).sqrt() } else { s.sum.sqrt() + c.eps };
        p - c.step_size * (g / root)
    }
}
