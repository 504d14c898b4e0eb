//! Cautious Lion, the rule: everything that wgpu-optim wants to know of it.

use wgpu_optim::{Before, Check, Error, Number, Real, Rule, Step, fields};

/// Lion that holds still wherever its direction disagrees with the present gradient's.
///
/// ```text
/// u ← sign(β1·m + (1 − β1)·g)
/// p ← p − lr·u where u·g > 0
/// m ← β2·m + (1 − β2)·g                exp_avg
/// ```
///
/// Liang, Chen, Liu and Liu, *Cautious optimizers: improving training with one line of code*, 2024
/// (arXiv 2411.16085). The paper also multiplies u by the inverse of the share of elements that move,
/// a sum over the whole tensor; a rule sees one element, so this one leaves the factor out.
#[derive(Debug, Clone)]
pub struct CautiousLion {
    pub lr: f64,
    pub betas: (f64, f64),
}

fields! {
    /// Equal for all elements in a step: the WGSL's `struct Coeffs`, the same names in the same order.
    pub struct Coeffs { lr, beta1, one_minus_beta1, beta2, one_minus_beta2 }
}

fields! {
    /// What each element remembers: the WGSL's `struct State`.
    pub struct State { exp_avg }
}

impl Rule for CautiousLion {
    const NAME: &'static str = "cautious_lion";
    const WGSL: &'static str = include_str!("cautious_lion.wgsl");
    type Coeffs<T: Copy> = Coeffs<T>;
    type State<T: Copy> = State<T>;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("CautiousLion")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .finish()
    }
    fn before(&self) -> Before<f64> {
        // Weight decay and maximization, if wanted: `.decoupled(self.lr, self.weight_decay)`.
        Before::default()
    }
    fn initial_state(&self) -> State<Option<f64>> {
        State { exp_avg: Some(0.0) }
    }
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
    fn update<T: Real>(&self, c: &Coeffs<T>, p: T, g: T, s: &mut State<T>) -> T {
        let zero = T::from_f64(0.0);
        let direction = (c.beta1 * s.exp_avg + c.one_minus_beta1 * g).sign();
        s.exp_avg = c.beta2 * s.exp_avg + c.one_minus_beta2 * g;
        let cautious = if direction * g > zero { direction } else { zero };
        p - c.lr * cautious
    }
    fn variants() -> Vec<Self> {
        vec![Self { lr: 1e-4, betas: (0.9, 0.99) }]
    }
}
