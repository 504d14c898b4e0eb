//! What a rule is: an optimizer's formula, a pure function of one element.
//!
//! A rule is written twice, once in WGSL and once in Rust, so that each checks the other. Everything
//! else (buffers, groups, tails, dispatches, the CPU driver) is the drivers' work and the same for
//! every rule, built in or your own.

use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::number::{Number, Step};
use crate::run::{Norms, Run, View};
use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A floating-point type that the CPU driver computes in: `f32`, as the GPU does, or `f64`, the
/// yardstick.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    /// Rounds a coefficient to this type.
    fn from_f64(x: f64) -> Self;
    /// Widens to f64, exactly.
    fn to_f64(self) -> f64;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The larger of two numbers.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers.
    fn min(self, other: Self) -> Self;
    /// −1, 0 or 1, as WGSL's and PyTorch's `sign` (Rust's `signum` has no 0).
    fn sign(self) -> Self;
    /// Runs one step of a rule whose type was erased over one run of elements.
    #[doc(hidden)]
    fn run(rule: &dyn DynRule, coeffs: &[f64], run: Run<'_, Self>);
    /// The sums of squares that such a rule's trust ratio takes, over one run of elements.
    #[doc(hidden)]
    fn norms(rule: &dyn DynRule, coeffs: &[f64], view: &View<'_, Self>) -> Norms;
}

macro_rules! real {
    ($type:ident, $run:ident, $norms:ident) => {
        impl Real for $type {
            fn from_f64(x: f64) -> Self {
                x as $type
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn abs(self) -> Self {
                self.abs()
            }
            fn max(self, other: Self) -> Self {
                if self > other { self } else { other }
            }
            fn min(self, other: Self) -> Self {
                if self < other { self } else { other }
            }
            fn sign(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else {
                    0.0
                }
            }
            fn run(rule: &dyn DynRule, coeffs: &[f64], run: Run<'_, Self>) {
                rule.$run(coeffs, run);
            }
            fn norms(rule: &dyn DynRule, coeffs: &[f64], view: &View<'_, Self>) -> Norms {
                rule.$norms(coeffs, view)
            }
        }
    };
}
real!(f32, run_f32, norms_f32);
real!(f64, run_f64, norms_f64);

/// A struct whose fields are all of one type: a rule's coefficients or states. Made by [`fields!`].
///
/// The names and their order must be those of the WGSL struct; building an optimizer checks it.
///
/// [`fields!`]: crate::fields!
pub trait Fields<T> {
    /// The fields' names, in order.
    const NAMES: &'static [&'static str];
    /// Builds the struct from its fields' values by position.
    fn from_fn(value: impl FnMut(usize) -> T) -> Self;
    /// Visits every field by position.
    fn each(&self, visit: impl FnMut(usize, T));
}

/// Declares a struct of equally typed fields, generic over that type, for a rule's coefficients or
/// states.
///
/// ```
/// wgpu_optim::fields! {
///     /// What one step of my rule needs to know.
///     pub struct MyCoeffs { lr, beta }
/// }
/// let c = MyCoeffs { lr: 0.1_f32, beta: 0.9 };
/// # let _ = (c.lr, c.beta);
/// ```
#[macro_export]
macro_rules! fields {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $field:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        $vis struct $name<T> { $($(#[$doc])* $vis $field: T),+ }

        impl<T: Copy> $crate::Fields<T> for $name<T> {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),+];
            #[inline(always)]
            fn from_fn(mut value: impl FnMut(usize) -> T) -> Self {
                let mut position = 0..;
                $(let $field = value(position.next().unwrap_or_default());)+
                Self { $($field),+ }
            }
            #[inline(always)]
            fn each(&self, mut visit: impl FnMut(usize, T)) {
                let mut position = 0..;
                $(visit(position.next().unwrap_or_default(), self.$field);)+
            }
        }
    };
}

crate::fields! {
    /// What happens to parameter and gradient before every rule, in this order:
    /// `g ← sign·g`, `g ← g` clamped to ±`limit`, `g ← g + weight_decay·p`, `p ← shrink·p`.
    pub struct Before {
        /// −1 to maximize, 1 to minimize; the optimizer multiplies it by what scales all gradients.
        sign,
        /// Coupled (L2) weight decay.
        weight_decay,
        /// 1 − lr·weight_decay of decoupled weight decay, or 1.
        shrink,
        /// The largest magnitude that an element of the gradient keeps; set by the optimizer.
        limit,
    }
}

impl Default for Before<f64> {
    /// Nothing happens.
    fn default() -> Self {
        Self { sign: 1.0, weight_decay: 0.0, shrink: 1.0, limit: f64::INFINITY }
    }
}

impl Before<f64> {
    /// Where `sign` and `limit` are among all coefficients.
    pub(crate) const SIGN: usize = 0;
    pub(crate) const LIMIT: usize = 3;

    /// Minimization, or maximization by the negated gradient.
    #[must_use]
    pub fn maximize(self, maximize: bool) -> Self {
        Self { sign: if maximize { -1.0 } else { 1.0 }, ..self }
    }

    /// Coupled (L2) decay: the gradient gains `weight_decay`·p.
    #[must_use]
    pub fn coupled(self, weight_decay: f64) -> Self {
        Self { weight_decay, ..self }
    }

    /// Decoupled decay: the parameter shrinks by `lr`·`weight_decay`, the gradient stays.
    #[must_use]
    pub fn decoupled(self, lr: f64, weight_decay: f64) -> Self {
        Self { shrink: 1.0 - lr * weight_decay, ..self }
    }
}

impl Before<f64> {
    /// Decoupled or coupled decay, for rules that have both.
    #[must_use]
    pub fn decay(self, decoupled: bool, lr: f64, weight_decay: f64) -> Self {
        if decoupled { self.decoupled(lr, weight_decay) } else { self.coupled(weight_decay) }
    }
}

impl<T: Real> Before<T> {
    /// The parameter and gradient that the rule sees.
    #[inline(always)]
    pub(crate) fn apply(&self, p: T, g: T) -> (T, T) {
        let g = self.sign * g;
        // Written so that a NaN stays one.
        let g = if g.abs() > self.limit { g.sign() * self.limit } else { g };
        let decayed = g + self.weight_decay * p;
        let g = if self.weight_decay == T::default() { g } else { decayed };
        (self.shrink * p, g)
    }
}

/// An optimizer's formula: hyperparameters, states, coefficients and the update of one element.
///
/// Implement it, with a WGSL file of the same formula, and your rule has groups, every buffer
/// layout, the CPU twin and the checks. The WGSL reads
///
/// ```wgsl
/// struct Coeffs { lr: f32, beta: f32 }        // f32 only, the names and order of `Self::Coeffs`
/// struct State { exp_avg: Real }              // Real only, the names and order of `Self::State`
/// override my_option: bool;                   // one for each of `options`
/// fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real { … }
/// ```
///
/// where `Real` is four elements at once (`vec4<f32>`): write formulas that hold for a number and for
/// a vector (`Real(c.eps)` where a function wants two vectors).
///
/// # Your own rule
///
/// `examples/custom_rule` is a whole one, as it stands in a crate of yours: the WGSL, the Rust side,
/// and a program that compares the two. A mistake in the WGSL is an [`Error::Rule`] that names its line.
pub trait Rule: Clone + Debug + Send + Sync + 'static {
    /// The rule's name in snake case, the stem of its files.
    const NAME: &'static str;
    /// The WGSL text, usually `include_str!("my_rule.wgsl")`.
    const WGSL: &'static str;

    /// Numbers equal for all elements of a group in one step.
    type Coeffs<T: Copy>: Fields<T>;
    /// Numbers that each element keeps from step to step.
    type State<T: Copy>: Fields<T>;

    /// The learning rate.
    fn lr(&self) -> f64;
    /// Changes the learning rate.
    fn set_lr(&mut self, lr: f64);
    /// Refuses hyperparameters outside their ranges; see [`Check`](crate::Check).
    ///
    /// # Errors
    /// The first that is out of range.
    fn validate(&self) -> Result<(), Error>;
    /// The WGSL `override` constants and their values. An option cannot change after `build`.
    fn options(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }
    /// What happens to p and g before the rule sees them.
    fn before(&self) -> Before<f64>;
    /// Each state's value before the first step, or `None` where the options leave it unused: such a
    /// state has no memory, and the formula must not read it. A rule without any memory declares one
    /// state, since WGSL has no empty structs, and never uses it.
    fn initial_state(&self) -> Self::State<Option<f64>>;
    /// Numbers that a whole group keeps from step to step, such as NAdam's `mu_product`.
    fn scalars(&self) -> Vec<StateInit> {
        Vec::new()
    }
    /// Takes the group's [`scalars`](Self::scalars) to this step, counted from 1, before its
    /// coefficients are asked for.
    fn advance<N: Number>(&self, step: Step<N>, scalars: &mut [N]) {
        let _ = (step, scalars);
    }
    /// The coefficients of a step. Both drivers round them to their own type once. They are computed in
    /// f64; where a step may be skipped, the GPU replays the operations that depend on it, with the same
    /// result. So write them for any [`Number`]: `N::from` makes one of an f64.
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> Self::Coeffs<N>;
    /// One element's step: the new parameter, and the new state in place.
    fn update<T: Real>(&self, c: &Self::Coeffs<T>, p: T, g: T, s: &mut Self::State<T>) -> T;
    /// Whether each tensor's learning rate is scaled by its trust ratio,
    /// `trust_coefficient`·‖p‖/‖u‖, or 1 where a norm is 0, with u from [`direction`](Self::direction).
    /// Such a rule has the coefficients `lr`, which the drivers scale before they call
    /// [`update`](Self::update), and `trust_coefficient`; and its WGSL has, beside `update`, a function
    /// `direction` of the same signature.
    const TRUST_RATIO: bool = false;
    /// One element of the direction u whose norm the trust ratio divides by. It may change the state
    /// on the way; only [`update`](Self::update)'s changes are kept.
    fn direction<T: Real>(&self, c: &Self::Coeffs<T>, p: T, g: T, s: &mut Self::State<T>) -> T {
        let _ = (c, p, s);
        g
    }
    /// One value of the rule for each way its options can be set, for tests and benches to walk.
    fn variants() -> Vec<Self>;
}

/// The most states a rule may have.
pub const MAX_STATES: usize = 4;

/// A state in use, or a group's scalar: its name and its value before the first step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StateInit {
    /// The state's name, as PyTorch calls it.
    pub name: &'static str,
    /// The value of every element before the first step.
    pub value: f64,
}
