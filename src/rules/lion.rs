//! Lion (Chen et al. 2023).

use crate::error::{Check, Error};
use crate::rule::{After, Before, Hyperparameter, NoSums, Number, Real, Rule, Step};

/// Lion: steps of exactly `lr`, in the direction of a momentum's sign, with one state.
///
/// ```text
/// p ← p − lr·weight_decay·p
/// p ← p − lr·sign(β1·m + (1 − β1)·g)
/// m ← β2·m + (1 − β2)·g                exp_avg
/// ```
///
/// Defaults are optax's; learning rates are three to ten times smaller than Adam's, and weight
/// decay as much larger. Chen, Liang, Huang, Real, Wang, Pham, Dong, Luong, Hsieh, Lu and Le,
/// *Symbolic discovery of optimization algorithms*, NeurIPS 2023.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lion {
    /// Learning rate, at least 0. Default 1e-4.
    pub lr: f64,
    /// β1, the share of the momentum in a step, and β2, the share that it keeps, in [0, 1). Default
    /// (0.9, 0.99).
    pub betas: (f64, f64),
    /// Decoupled weight decay, at least 0. Default 1e-3.
    pub weight_decay: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, betas: (0.9, 0.99), weight_decay: 1e-3, maximize: false }
    }
}

crate::fields! {
    /// What a step of [`Lion`] needs to know.
    pub struct LionCoeffs {
        /// lr
        lr,
        /// β1
        beta1,
        /// 1 − β1
        one_minus_beta1,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
    }
}

crate::fields! {
    /// What an element of [`Lion`] remembers.
    pub struct LionState {
        /// m, the momentum
        exp_avg,
    }
}

impl Rule for Lion {
    const NAME: &'static str = "lion";
    const WGSL: &'static str = wgsl!("lion");
    type Coeffs<T: Copy> = LionCoeffs<T>;
    type State<T: Copy> = LionState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, betas, weight_decay, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("Lion")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .non_negative("weight_decay", self.weight_decay)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize)
    }
    fn after(&self) -> After {
        After::decay(self.lr, self.weight_decay)
    }
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> LionCoeffs<N> {
        let (beta1, beta2) = self.betas;
        LionCoeffs {
            lr: self.lr.into(),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &LionCoeffs<T>, p: T, g: T, s: &mut LionState<T>) -> T {
        let direction = (c.beta1 * s.exp_avg + c.one_minus_beta1 * g).sign();
        s.exp_avg = c.beta2 * s.exp_avg + c.one_minus_beta2 * g;
        p - c.lr * direction
    }
}
