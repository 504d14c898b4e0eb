//! What a rule is: an optimizer's formula, a pure function of one element.
//!
//! A rule is written twice, once in WGSL and once in Rust, so that each checks the other. Everything
//! else (buffers, groups, tails, dispatches, the CPU driver) is the drivers' work and the same for
//! every rule, built in or your own.

use crate::error::Error;
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
}

macro_rules! real {
    ($type:ident, $run:ident) => {
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
        }
    };
}
real!(f32, run_f32);
real!(f64, run_f64);

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
    /// `g ← sign·g`, `g ← g + weight_decay·p`, `p ← shrink·p`.
    pub struct Before {
        /// −1 to maximize, 1 to minimize.
        sign,
        /// Coupled (L2) weight decay.
        weight_decay,
        /// 1 − lr·weight_decay of decoupled weight decay, or 1.
        shrink,
    }
}

impl Default for Before<f64> {
    /// Nothing happens.
    fn default() -> Self {
        Self { sign: 1.0, weight_decay: 0.0, shrink: 1.0 }
    }
}

impl Before<f64> {
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
    fn apply(&self, p: T, g: T) -> (T, T) {
        let g = self.sign * g;
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
    type Coeffs<T: Real>: Fields<T>;
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
    /// state has no memory, and the formula must not read it.
    fn initial_state(&self) -> Self::State<Option<f64>>;
    /// Numbers that a whole group keeps from step to step, such as NAdam's `mu_product`.
    fn scalars(&self) -> Vec<StateInit> {
        Vec::new()
    }
    /// Takes the group's [`scalars`](Self::scalars) to this step, counted from 1, before its
    /// coefficients are asked for.
    fn advance(&self, step: u64, scalars: &mut [f64]) {
        let _ = (step, scalars);
    }
    /// The coefficients of a step, counted from 1, in f64. Both drivers round them once.
    fn coeffs(&self, step: u64, scalars: &[f64]) -> Self::Coeffs<f64>;
    /// One element's step: the new parameter, and the new state in place.
    fn update<T: Real>(&self, c: &Self::Coeffs<T>, p: T, g: T, s: &mut Self::State<T>) -> T;
    /// One value of the rule for each way its options can be set, for tests and benches to walk.
    fn variants() -> Vec<Self>;
}

/// The most states a rule may have.
pub const MAX_STATES: usize = 4;

/// Consecutive elements of one parameter as the CPU driver updates them: the active states in order.
#[doc(hidden)]
#[derive(Debug)]
pub struct Run<'a, T> {
    pub params: &'a mut [T],
    pub grads: &'a [T],
    pub states: &'a mut [&'a mut [T]],
}

/// A state in use, or a group's scalar: its name and its value before the first step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StateInit {
    /// The state's name, as PyTorch calls it.
    pub name: &'static str,
    /// The value of every element before the first step.
    pub value: f64,
}

/// A [`Rule`] whose type was erased, as optimizers hold it. Every rule is one.
pub trait DynRule: Debug + Send + Sync {
    /// [`Rule::NAME`].
    fn name(&self) -> &'static str;
    /// [`Rule::WGSL`].
    fn wgsl(&self) -> &'static str;
    /// [`Rule::lr`].
    fn lr(&self) -> f64;
    /// [`Rule::set_lr`].
    fn set_lr(&mut self, lr: f64);
    /// [`Rule::validate`], and that the rule has no more states than [`MAX_STATES`].
    ///
    /// # Errors
    /// As said.
    fn validate(&self) -> Result<(), Error>;
    /// [`Rule::options`].
    fn options(&self) -> Vec<(&'static str, bool)>;
    /// The states in use.
    fn states(&self) -> Vec<StateInit>;
    /// The names of all states, used or not.
    fn state_names(&self) -> &'static [&'static str];
    /// The names of the rule's coefficients.
    fn coeff_names(&self) -> &'static [&'static str];
    /// [`Rule::scalars`].
    fn scalars(&self) -> Vec<StateInit>;
    /// [`Rule::advance`].
    fn advance(&self, step: u64, scalars: &mut [f64]);
    /// Appends one step's coefficients: [`Before`] first, then the rule's own.
    fn coeffs(&self, step: u64, scalars: &[f64], out: &mut Vec<f64>);
    /// A copy.
    fn boxed(&self) -> Box<dyn DynRule>;
    #[doc(hidden)]
    fn run_f32(&self, coeffs: &[f64], run: Run<'_, f32>);
    #[doc(hidden)]
    fn run_f64(&self, coeffs: &[f64], run: Run<'_, f64>);
}

impl<R: Rule> From<R> for Box<dyn DynRule> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}

impl<R: Rule> DynRule for R {
    fn name(&self) -> &'static str {
        R::NAME
    }
    fn wgsl(&self) -> &'static str {
        R::WGSL
    }
    fn lr(&self) -> f64 {
        Rule::lr(self)
    }
    fn set_lr(&mut self, lr: f64) {
        Rule::set_lr(self, lr);
    }
    fn validate(&self) -> Result<(), Error> {
        let states = self.state_names().len();
        if states > MAX_STATES {
            return Err(Error::rule(
                R::NAME,
                format!("it has {states} states, but a rule may have at most {MAX_STATES}"),
            ));
        }
        Rule::validate(self)
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        Rule::options(self)
    }
    fn states(&self) -> Vec<StateInit> {
        let names = self.state_names();
        let mut states = Vec::new();
        self.initial_state().each(|k, value| {
            states.extend(value.map(|value| StateInit { name: names[k], value }));
        });
        states
    }
    fn state_names(&self) -> &'static [&'static str] {
        <R::State<f64> as Fields<f64>>::NAMES
    }
    fn coeff_names(&self) -> &'static [&'static str] {
        <R::Coeffs<f64> as Fields<f64>>::NAMES
    }
    fn scalars(&self) -> Vec<StateInit> {
        Rule::scalars(self)
    }
    fn advance(&self, step: u64, scalars: &mut [f64]) {
        Rule::advance(self, step, scalars);
    }
    fn coeffs(&self, step: u64, scalars: &[f64], out: &mut Vec<f64>) {
        self.before().each(|_, x| out.push(x));
        Rule::coeffs(self, step, scalars).each(|_, x| out.push(x));
    }
    fn boxed(&self) -> Box<dyn DynRule> {
        Box::new(self.clone())
    }
    fn run_f32(&self, coeffs: &[f64], run: Run<'_, f32>) {
        update_run(self, coeffs, run);
    }
    fn run_f64(&self, coeffs: &[f64], run: Run<'_, f64>) {
        update_run(self, coeffs, run);
    }
}

/// Elements that the CPU driver holds in registers and first-level cache at once.
const TILE: usize = 64;

/// Updates a run of elements, a tile at a time.
///
/// States travel through local arrays of fixed size, so that the compiler sees neither aliasing nor
/// bounds in the inner loop and turns it into vector code, whatever the number of states.
fn update_run<R: Rule, T: Real>(rule: &R, coeffs: &[f64], run: Run<'_, T>) {
    let (before, own) = coeffs.split_at(Before::<f64>::NAMES.len());
    let before = Before::from_fn(|k| T::from_f64(before[k]));
    let own = R::Coeffs::<T>::from_fn(|k| T::from_f64(own[k]));
    // Slot k of the tile is state k of the rule; only the states in use have memory behind them.
    let mut used = Vec::with_capacity(MAX_STATES);
    rule.initial_state().each(|k, value| used.extend(value.map(|_| k)));

    let mut tile = [[T::default(); TILE]; MAX_STATES];
    let grads = run.grads.chunks(TILE);
    for (index, (params, grads)) in run.params.chunks_mut(TILE).zip(grads).enumerate() {
        let range = index * TILE..index * TILE + params.len();
        for (&slot, state) in used.iter().zip(run.states.iter()) {
            tile[slot][..params.len()].copy_from_slice(&state[range.clone()]);
        }
        update_tile(rule, &before, &own, params, grads, &mut tile);
        for (&slot, state) in used.iter().zip(run.states.iter_mut()) {
            state[range.clone()].copy_from_slice(&tile[slot][..params.len()]);
        }
    }
}

#[inline(always)]
fn update_tile<R: Rule, T: Real>(
    rule: &R,
    before: &Before<T>,
    coeffs: &R::Coeffs<T>,
    params: &mut [T],
    grads: &[T],
    states: &mut [[T; TILE]; MAX_STATES],
) {
    let count = params.len().min(grads.len()).min(TILE);
    for i in 0..count {
        let (p, g) = before.apply(params[i], grads[i]);
        let mut state = R::State::<T>::from_fn(|k| states[k][i]);
        params[i] = rule.update(coeffs, p, g, &mut state);
        state.each(|k, x| states[k][i] = x);
    }
}
