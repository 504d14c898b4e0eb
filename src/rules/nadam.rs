//! NAdam (Dozat 2016).

use crate::error::{Check, Error};
use crate::rule::{
    After, Before, Hyperparameter, NoSums, Number, Real, Rule, StateInit, Step, either_decay,
};
use std::cell::RefCell;

/// NAdam: Adam with Nesterov's momentum, which grows towards β1 along PyTorch's schedule.
///
/// ```text
/// g  ← g + weight_decay·p                       (or p ← p − lr·weight_decay·p, decoupled)
/// μt = β1·(1 − ½·0.96^(t·momentum_decay)),  μ' the same at t + 1
/// Π  ← Π·μt                                     mu_product, of the whole group, at first 1
/// m  ← β1·m + (1 − β1)·g                        exp_avg
/// v  ← β2·v + (1 − β2)·g²                       exp_avg_sq
/// d  = √(v/(1 − β2ᵗ)) + eps
/// p  ← p − lr·(1 − μt)/(1 − Π) · g/d − lr·μ'/(1 − Π·μ') · m/d
/// ```
///
/// With `decoupled_weight_decay` it is NAdamW. Defaults and names are PyTorch's; Π is kept in f64,
/// where PyTorch keeps it in f32. Dozat, *Incorporating Nesterov momentum into Adam*, ICLR workshop
/// 2016.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NAdam {
    /// Learning rate, at least 0. Default 2e-3.
    pub lr: f64,
    /// β1 and β2, the shares of the old averages that a step keeps, in [0, 1). Default (0.9,
    /// 0.999).
    pub betas: (f64, f64),
    /// Added to the root, outside it; at least 0. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at least 0: coupled, or decoupled with `decoupled_weight_decay`. Default 0.
    pub weight_decay: f64,
    /// How fast the momentum grows, at least 0. Default 4e-3.
    pub momentum_decay: f64,
    /// Shrink the parameter instead of changing the gradient. Default false.
    pub decoupled_weight_decay: bool,
    /// Ascend instead of descend. Default false.
    pub maximize: bool,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

crate::fields! {
    /// What a step of [`NAdam`] needs to know.
    pub struct NAdamCoeffs {
        /// lr·(1 − μt)/(1 − Π)
        grad_step,
        /// lr·μ'/(1 − Π·μ')
        momentum_step,
        /// β1
        beta1,
        /// 1 − β1
        one_minus_beta1,
        /// β2
        beta2,
        /// 1 − β2
        one_minus_beta2,
        /// 1/√(1 − β2ᵗ)
        inv_sqrt_bias2,
        /// eps
        eps,
    }
}

crate::fields! {
    /// What an element of [`NAdam`] remembers.
    pub struct NAdamState {
        /// m, the running mean of the gradient
        exp_avg,
        /// v, the running mean of its square
        exp_avg_sq,
    }
}

impl NAdam {
    /// 0.96^ψ, by which the momentum's distance from β1 shrinks with each step.
    fn warming(&self) -> f64 {
        0.96f64.powf(self.momentum_decay)
    }

    /// μ at a step.
    fn mu<N: Number>(&self, step: Step<N>) -> N {
        self.warmed(step.power(self.warming()))
    }

    /// μ at the step after.
    fn next_mu<N: Number>(&self, step: Step<N>) -> N {
        self.warmed(step.power(self.warming()) * self.warming().into())
    }

    /// Π after so many steps, with the bits of [`Rule::advance`] called for each.
    fn product_after(&self, steps: u64) -> f64 {
        let (mut product, warm) = WARM_UP.with_borrow_mut(|known| known.product_at(self, steps));
        for _ in warm..steps {
            let next = product * self.betas.0;
            // Every later step would leave it too: it is 0, or so small that it rounds to itself.
            if next == product {
                break;
            }
            product = next;
        }
        product
    }

    fn warmed<N: Number>(&self, distance: N) -> N {
        N::from(self.betas.0) * (N::from(1.0) - N::from(0.5) * distance)
    }
}

thread_local! {
    /// The products of the rule that was last asked for one: resuming a run asks for thousands.
    static WARM_UP: RefCell<WarmUp> = RefCell::default();
}

/// Π at every step from 0 on in which μ still grows; at the last of them μ is β1, or no μ changes Π
/// any more. These are few: a slow schedule keeps μ so far below 1 that Π vanishes within thousands
/// of steps, and a fast one ends by then (75 000 at the most, for a β1 next to 1).
#[derive(Debug, Default)]
struct WarmUp {
    /// β1 and how fast μ grows, as bits.
    of: [u64; 2],
    products: Vec<f64>,
    is_whole: bool,
}

impl WarmUp {
    /// Π at this step or, if that is beyond the last, at the last; and that step.
    fn product_at(&mut self, rule: &NAdam, steps: u64) -> (f64, u64) {
        let of = [rule.betas.0, rule.momentum_decay].map(f64::to_bits);
        if self.of != of || self.products.is_empty() {
            *self = Self { of, products: vec![1.0], is_whole: false };
        }
        while !self.is_whole && self.last() < steps {
            self.extend(rule);
        }
        let step = steps.min(self.last());
        (self.products[step as usize], step)
    }

    fn last(&self) -> u64 {
        self.products.len() as u64 - 1
    }

    fn extend(&mut self, rule: &NAdam) {
        let mu = rule.mu(Step::new((self.last() + 1) as f64));
        let product = self.products[self.products.len() - 1];
        // μ never shrinks, so that what it leaves as it is stays so.
        self.is_whole = mu == rule.betas.0 || product * mu == product;
        self.products.push(product * mu);
    }
}

impl NAdam {
    fn decay(&self) -> (Before, After) {
        let Self { decoupled_weight_decay, maximize, lr, weight_decay, .. } = *self;
        either_decay(decoupled_weight_decay, maximize, lr, weight_decay)
    }
}

impl Rule for NAdam {
    const NAME: &'static str = "nadam";
    const WGSL: &'static str = wgsl!("nadam");
    type Coeffs<T: Copy> = NAdamCoeffs<T>;
    type State<T: Copy> = NAdamState<T>;
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
            momentum_decay,
            decoupled_weight_decay,
            maximize
        )
    }
    fn validate(&self) -> Result<(), Error> {
        Check::new("NAdam")
            .non_negative("lr", self.lr)
            .decay_rate("betas.0", self.betas.0)
            .decay_rate("betas.1", self.betas.1)
            .not_vanishing("eps", self.eps)
            .non_negative("weight_decay", self.weight_decay)
            .non_negative("momentum_decay", self.momentum_decay)
            .finish()
    }
    fn before(&self) -> Before {
        self.decay().0
    }
    fn after(&self) -> After {
        self.decay().1
    }
    fn scalars(&self) -> Vec<StateInit> {
        vec![StateInit { name: "mu_product", value: 1.0 }]
    }
    fn advance<N: Number>(&self, step: Step<N>, scalars: &mut [N]) {
        scalars[0] = scalars[0] * self.mu(step);
    }
    fn non_negative_states() -> &'static [&'static str] {
        &["exp_avg_sq"]
    }
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        vec![self.product_after(steps)]
    }
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> NAdamCoeffs<N> {
        let (beta1, beta2) = self.betas;
        let one = N::from(1.0);
        let lr = N::from(self.lr);
        let (mu, next_mu, product) = (self.mu(step), self.next_mu(step), scalars[0]);
        NAdamCoeffs {
            grad_step: lr * (one - mu) / (one - product),
            momentum_step: lr * next_mu / (one - product * next_mu),
            beta1: beta1.into(),
            one_minus_beta1: (1.0 - beta1).into(),
            beta2: beta2.into(),
            one_minus_beta2: (1.0 - beta2).into(),
            inv_sqrt_bias2: one / (one - step.power(beta2)).sqrt(),
            eps: self.eps.into(),
        }
    }
    #[inline(always)]
    fn update<T: Real>(&self, c: &NAdamCoeffs<T>, p: T, g: T, s: &mut NAdamState<T>) -> T {
        s.exp_avg = c.beta1 * s.exp_avg + c.one_minus_beta1 * g;
        s.exp_avg_sq = c.beta2 * s.exp_avg_sq + c.one_minus_beta2 * g * g;
        let denominator = s.exp_avg_sq.sqrt() * c.inv_sqrt_bias2 + c.eps;
        p - (c.grad_step * g + c.momentum_step * s.exp_avg) / denominator
    }
}
