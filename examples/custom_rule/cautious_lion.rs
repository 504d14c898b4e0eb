//! The rule's Rust side: everything that wgpu-optim needs to know about cautious Lion.

use wgpu_optim::{Check, Error, Hyperparameter, Number, Real, Rule, Step, fields, hyperparameters};

/// Lion that updates an element only where its direction agrees with the present gradient.
///
/// ```text
/// u    ← sign(β1·m + (1 − β1)·g)
/// mask ← 1 where u·g > 0, otherwise 0
/// p    ← p − lr·u·mask/max(mean(mask), 1e-3)     the mean is over the tensor
/// m    ← β2·m + (1 − β2)·g                       exp_avg
/// ```
///
/// Liang, Chen, Liu and Liu, *Cautious optimizers: improving training with one line of code*, 2024
/// (arXiv 2411.16085), with the scale factor of timm's implementation.
#[derive(Debug, Clone)]
pub struct CautiousLion {
    pub lr: f64,
    pub betas: (f64, f64),
}

fields! {
    /// Numbers equal for all elements in a step: the WGSL's `struct Coeffs`, with the same names in
    /// the same order.
    pub struct Coeffs { lr, beta1, one_minus_beta1, beta2, one_minus_beta2 }
}

fields! {
    /// What each element keeps from step to step: the WGSL's `struct State`.
    pub struct State { exp_avg }
}

fields! {
    /// Sums over a tensor: how many elements the mask lets move, and how many there are. The WGSL's
    /// `struct Sums`; there, `struct Summands` has the same fields.
    pub struct Sums { moving, elements }
}

/// The smallest mean of the mask by which a step is divided.
const LEAST_MEAN: f64 = 1e-3;

impl CautiousLion {
    /// Lion's direction, or 0 where the present gradient disagrees.
    fn cautious<T: Real>(c: &Coeffs<T>, g: T, exp_avg: T) -> T {
        let zero = T::from_f64(0.0);
        let direction = (c.beta1 * exp_avg + c.one_minus_beta1 * g).sign();
        if direction * g > zero { direction } else { zero }
    }
}

impl Rule for CautiousLion {
    const NAME: &'static str = "cautious_lion";
    const WGSL: &'static str = include_str!("cautious_lion.wgsl");
    type Coeffs<T: Copy> = Coeffs<T>;
    type State<T: Copy> = State<T>;
    type Sums<T: Copy> = Sums<T>;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    /// Checkpoints tell these by name.
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        hyperparameters!(self, lr, betas)
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("CautiousLion")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .finish()
    }
    // `before` and `after`, which have defaults, are where maximization and weight decay would go.
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> Coeffs<N> {
        let (beta1, beta2) = self.betas;
        Coeffs {
            lr: self.lr.into(),
            beta1: beta1.into(),
            // Subtracted here, in f64, rather than for each element in f32.
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
        }
    }
    fn summands<T: Real>(&self, c: &Coeffs<T>, _: T, g: T, s: &mut State<T>) -> Sums<T> {
        Sums { moving: Self::cautious(c, g, s.exp_avg).abs(), elements: T::from_f64(1.0) }
    }
    fn with_sums(&self, c: Coeffs<f64>, sums: &Sums<f64>) -> Coeffs<f64> {
        Coeffs { lr: c.lr / (sums.moving / sums.elements).max(LEAST_MEAN), ..c }
    }
    fn update<T: Real>(&self, c: &Coeffs<T>, p: T, g: T, s: &mut State<T>) -> T {
        let direction = Self::cautious(c, g, s.exp_avg);
        s.exp_avg = c.beta2 * s.exp_avg + c.one_minus_beta2 * g;
        p - c.lr * direction
    }
}
