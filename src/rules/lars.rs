//! LARS (You, Gitman and Ginsburg 2017).

use crate::error::{Check, Error};
use crate::rule::{Before, Hyperparameter, Number, Real, Rule, Step, SumKind};
use crate::rules::trust_ratio;

/// LARS: momentum whose learning rate each tensor scales by its own norm, for very large batches.
///
/// ```text
/// u   = g + weight_decay·p
/// r   = trust_coefficient·‖p‖/‖u‖ of the whole tensor, or 1 where either is 0 or r above 1e37
/// buf ← momentum·buf − lr·r·u                                momentum_buffer
/// p   ← p + buf
/// ```
///
/// Defaults are optax's; for the norms see [`LAMB`](crate::LAMB). You, Gitman and Ginsburg, *Large
/// batch training of convolutional networks*, 2017.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LARS {
    /// Learning rate, at least 0. Default 1.
    pub lr: f64,
    /// Momentum, at least 0. Default 0.9.
    pub momentum: f64,
    /// Weight decay, at least 0: a part of the direction u. Default 0.
    pub weight_decay: f64,
    /// The share of a tensor's norm that a step takes, at least 0. Default 1e-3.
    pub trust_coefficient: f64,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for LARS {
    fn default() -> Self {
        Self { lr: 1.0, momentum: 0.9, weight_decay: 0.0, trust_coefficient: 1e-3, maximize: false }
    }
}

crate::fields! {
    /// What a step of [`LARS`] needs to know.
    pub struct LARSCoeffs {
        /// lr, times r for each tensor
        lr,
        /// trust_coefficient
        trust_coefficient,
        /// momentum
        momentum,
    }
}

crate::fields! {
    /// What an element of [`LARS`] remembers.
    pub struct LARSState {
        /// buf, what the last step added
        momentum_buffer,
    }
}

crate::fields! {
    /// What [`LARS`] knows of a whole tensor: norms.
    pub struct LARSSums {
        /// ‖p‖
        param,
        /// ‖u‖
        direction,
    }
}

impl Rule for LARS {
    const NAME: &'static str = "lars";
    const WGSL: &'static str = wgsl!("lars");
    type Coeffs<T: Copy> = LARSCoeffs<T>;
    type State<T: Copy> = LARSState<T>;
    type Sums<T: Copy> = LARSSums<T>;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        crate::hyperparameters!(self, lr, momentum, weight_decay, trust_coefficient, maximize)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("LARS")
            .non_negative("lr", self.lr)
            .non_negative("momentum", self.momentum)
            .non_negative("weight_decay", self.weight_decay)
            .not_vanishing("trust_coefficient", self.trust_coefficient)
            .finish()
    }
    fn before(&self) -> Before {
        Before::maximize(self.maximize).weight_decay(self.weight_decay)
    }
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> LARSCoeffs<N> {
        LARSCoeffs {
            lr: self.lr.into(),
            trust_coefficient: self.trust_coefficient.into(),
            momentum: self.momentum.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &LARSCoeffs<T>, p: T, g: T, s: &mut LARSState<T>) -> T {
        s.momentum_buffer = c.momentum * s.momentum_buffer - c.lr * g;
        p + s.momentum_buffer
    }
    fn sum_kinds() -> LARSSums<SumKind> {
        LARSSums { param: SumKind::Norm, direction: SumKind::Norm }
    }
    #[inline(always)]
    fn summands<T: Real>(
        &self,
        _: &LARSCoeffs<T>,
        p: T,
        g: T,
        _: &mut LARSState<T>,
    ) -> LARSSums<T> {
        LARSSums { param: p, direction: g }
    }
    fn with_sums(&self, c: LARSCoeffs<f64>, sums: &LARSSums<f64>) -> LARSCoeffs<f64> {
        let ratio = trust_ratio(c.trust_coefficient, sums.param, sums.direction);
        LARSCoeffs { lr: c.lr * ratio, ..c }
    }
}
