//! What a rule is: an optimizer's formula, a pure function of one element.
//!
//! A rule is written twice, once in WGSL and once in Rust, so that each checks the other.
//! Everything else (buffers, groups, partial blocks, dispatches, the CPU) is the engines' work and
//! the same for every rule, built in or your own.

use crate::error::{Check, Error};
use crate::rule::around::{After, Before};
use crate::rule::fields::Fields;
use crate::rule::hyperparameters::Hyperparameter;
use crate::rule::number::{Number, Step};
use crate::rule::real::Real;
use std::fmt::Debug;

/// An optimizer's formula: hyperparameters, states, coefficients and the update of one element.
///
/// Implement it, with a WGSL file of the same formula, and your rule has groups, every placement,
/// the CPU twin and the checks. The WGSL reads
///
/// ```wgsl
/// struct Coeffs { lr: f32, beta: f32 }        // f32 only, the names and order of `Self::Coeffs`
/// struct State { exp_avg: Real }              // Real only, the names and order of `Self::State`
/// override my_option: bool;                   // one for each of `options`
/// fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real { … }
/// ```
///
/// where `Real` is four elements at once (`vec4<f32>`): write formulas that hold for a number and
/// for a vector (`Real(c.eps)` where a function wants two vectors).
///
/// # Sums over a tensor
///
/// A rule that must know something of the whole tensor before it updates an element (a norm, a
/// mean) declares it as [`Sums`](Self::Sums), and has two functions more, here and in the WGSL:
///
/// ```wgsl
/// struct Summands { moving: Real }            // what each element adds
/// struct Sums { moving: f32 }                 // what the tensor's elements add up to
/// fn summands(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Summands { … }
/// fn with_sums(c: Coeffs, sums: Sums) -> Coeffs { … }   // the tensor's own coefficients
/// ```
///
/// A step then goes over the rule's parameters twice: a sum pass calls `summands`, and the update
/// pass calls `update` with what `with_sums` made of the coefficients.
///
/// # Your own rule
///
/// `examples/custom_rule` is a whole one, as it stands in a crate of yours: the WGSL, the Rust
/// side, and a program that compares the two. A mistake in the WGSL is an [`Error::Rule`] that
/// names its line.
pub trait Rule: Clone + Debug + Send + Sync + 'static {
    /// The rule's name in snake case, the stem of its files.
    const NAME: &'static str;
    /// The WGSL text, usually `include_str!("my_rule.wgsl")`.
    const WGSL: &'static str;

    /// Numbers equal for all elements of a group in one step.
    type Coeffs<T: Copy>: Fields<T>;
    /// Numbers that each element keeps from step to step.
    type State<T: Copy>: Fields<T>;
    /// Numbers summed up over each tensor before its update; [`NoSums`] if there are none.
    type Sums<T: Copy>: Fields<T>;

    /// The learning rate.
    fn lr(&self) -> f64;
    /// Changes the learning rate.
    fn set_lr(&mut self, lr: f64);
    /// The coefficients of a step. Both engines round them to their own type once. They are
    /// computed in f64; where a step may be skipped, the GPU repeats the operations that depend on
    /// the step, with the same result. So write them for any [`Number`]: `N::from` makes one of an
    /// f64.
    fn coeffs<N: Number>(&self, step: Step<N>, scalars: &[N]) -> Self::Coeffs<N>;
    /// One element's step: the new parameter, and the new state in place.
    fn update<T: Real>(&self, c: &Self::Coeffs<T>, p: T, g: T, s: &mut Self::State<T>) -> T;

    /// All hyperparameters by name, for checkpoints to tell and to take back:
    /// `wgpu_optim::hyperparameters!(self, lr, betas)`. By default none but the learning rate, so
    /// that a resumed run keeps those that the optimizer was built with.
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        Vec::new()
    }

    /// Refuses hyperparameters outside their ranges; see [`Check`]. By default a learning rate that
    /// is negative or not finite.
    ///
    /// # Errors
    /// The first that is out of range.
    fn validate(&self) -> Result<(), Error> {
        Check::new(Self::NAME).non_negative("lr", self.lr()).finish()
    }
    /// The WGSL `override` constants and their values. An option cannot change after `build`.
    fn options(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }
    /// Takes over the options of the rule that an optimizer was built with, where this rule's
    /// numbers would turn off one that can stay on: SGD keeps its momentum buffer when
    /// momentum becomes 0.
    fn keep_options(&mut self, built: &Self) {
        let _ = built;
    }
    /// What happens to a gradient before the rule sees it.
    fn before(&self) -> Before {
        Before::default()
    }
    /// What happens to a parameter after the update.
    fn after(&self) -> After {
        After::default()
    }
    /// Each state's value before the first step, or `None` where the options leave it unused: such
    /// a state has no memory, and the formula must not read it. By default all are in use and start
    /// at 0. A rule without any memory declares one state, since WGSL has no empty structs, and
    /// leaves it unused.
    fn initial_state(&self) -> Self::State<Option<f64>> {
        Self::State::from_fn(|_| Some(0.0))
    }
    /// The names of states that are never negative: in 8 bits they are stored twice as finely, and
    /// what is above 0 stays so.
    fn non_negative_states() -> &'static [&'static str] {
        &[]
    }
    /// Numbers that a whole group keeps from step to step, such as NAdam's `mu_product`.
    fn scalars(&self) -> Vec<StateInit> {
        Vec::new()
    }
    /// Takes the group's [`scalars`](Self::scalars) to this step, counted from 1, before its
    /// coefficients are asked for.
    fn advance<N: Number>(&self, step: Step<N>, scalars: &mut [N]) {
        let _ = (step, scalars);
    }
    /// The group's [`scalars`](Self::scalars) after so many steps, as when a run is resumed: what
    /// [`advance`](Self::advance), called for each, makes of them. Override it where there is a
    /// shorter way to the same bits.
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        let mut scalars: Vec<_> = self.scalars().iter().map(|scalar| scalar.value).collect();
        if !scalars.is_empty() {
            (1..=steps).for_each(|step| self.advance(Step::new(step as f64), &mut scalars));
        }
        scalars
    }
    /// How each of the [`Sums`](Self::Sums) is added up: by default as a plain sum.
    fn sum_kinds() -> Self::Sums<SumKind> {
        Self::Sums::from_fn(|_| SumKind::Total)
    }
    /// What one element adds to the sums. It may change the state on the way; only
    /// [`update`](Self::update)'s changes are kept.
    fn summands<T: Real>(
        &self,
        c: &Self::Coeffs<T>,
        p: T,
        g: T,
        s: &mut Self::State<T>,
    ) -> Self::Sums<T> {
        let _ = (c, p, g, s);
        Self::Sums::from_fn(|_| T::default())
    }
    /// The coefficients of one tensor, whose elements added up to these sums.
    fn with_sums(&self, c: Self::Coeffs<f64>, sums: &Self::Sums<f64>) -> Self::Coeffs<f64> {
        let _ = sums;
        c
    }
}

/// The sums of a rule that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSums;

impl<T> Fields<T> for NoSums {
    const NAMES: &'static [&'static str] = &[];
    fn from_fn(_: impl FnMut(usize) -> T) -> Self {
        Self
    }
    fn each(&self, _: impl FnMut(usize, T)) {}
}

/// The most states a rule may have.
pub(crate) const MAX_STATES: usize = 4;

/// The most sums a rule may have.
pub(crate) const MAX_SUMS: usize = 4;

/// How elements are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SumKind {
    /// Their sum.
    Total,
    /// The root of the sum of their squares, without overflow or underflow on the way.
    Norm,
}

/// One sweep of a rule over its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Pass {
    /// Adds up the squares of each tensor's gradient, for [`Modifiers`](crate::Modifiers) alone.
    SumGrads,
    /// Adds up [`Rule::summands`] over each tensor.
    Sum,
    /// Adds up what modifiers must know of each tensor's update.
    SumUpdates,
    /// Updates parameters and states by [`Rule::update`].
    Update,
}

/// A state in use, or a group's scalar: its name and its value before the first step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StateInit {
    /// The state's name, as PyTorch calls it.
    pub name: &'static str,
    /// The value of every element before the first step.
    pub value: f64,
}

/// One of a rule's sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SumInit {
    /// Its name.
    pub name: &'static str,
    /// How elements are added up.
    pub kind: SumKind,
}
