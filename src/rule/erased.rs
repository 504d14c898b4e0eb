//! A rule whose type was erased, so that an optimizer can hold rules of many types.

use crate::error::{Check, Error};
use crate::rule::around::{Around, Scaling};
use crate::rule::fields::Fields;
use crate::rule::formula::{MAX_STATES, MAX_SUMS, Pass, Rule, StateInit, SumInit};
use crate::rule::hyperparameters::Hyperparameter;
use crate::rule::loops::{sum_run, update_run};
use crate::rule::modifiers::Modifiers;
use crate::rule::number::Step;
use crate::rule::program::{Program, Traced};
use crate::rule::run::{AnyRun, AnyView};
use std::any::Any;
use std::fmt::Debug;

/// A [`Rule`] whose type was erased, as optimizers hold it. Every rule is one.
pub trait DynRule: Any + Debug + Send + Sync {
    /// [`Rule::NAME`].
    fn name(&self) -> &'static str;
    /// [`Rule::WGSL`].
    fn wgsl(&self) -> &'static str;
    /// What happens around the rule's update, if anything was asked for by [`Modifiers::on`].
    fn modifiers(&self) -> Option<&Modifiers> {
        None
    }
    /// The rule without its modifiers.
    #[doc(hidden)]
    fn own(&self) -> &dyn DynRule;
    /// [`Rule::lr`].
    fn lr(&self) -> f64;
    /// [`Rule::set_lr`].
    fn set_lr(&mut self, lr: f64);
    /// [`Rule::hyperparameters`].
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)>;
    /// [`Rule::validate`]; and that the rule has no more states and sums than an optimizer can give
    /// it, and that [`Rule::before`] and [`Rule::after`] are numbers that a step can use.
    ///
    /// # Errors
    /// As said.
    fn validate(&self) -> Result<(), Error>;
    /// [`Rule::options`], and the modifiers in use.
    fn options(&self) -> Vec<(&'static str, bool)>;
    /// [`Rule::keep_options`], if `built` is of the same type.
    fn keep_options(&mut self, built: &dyn DynRule);
    /// The rule's own type.
    #[doc(hidden)]
    fn as_any(&self) -> &dyn Any;
    /// The states in use, and what modifiers keep.
    fn states(&self) -> Vec<StateInit>;
    /// The names of all states, used or not.
    fn state_names(&self) -> &'static [&'static str];
    /// [`Rule::non_negative_states`].
    fn non_negative_states(&self) -> &'static [&'static str];
    /// The names of the rule's coefficients.
    fn coeff_names(&self) -> &'static [&'static str];
    /// The names of the numbers that follow the rule's own coefficients, from the next multiple of
    /// four on.
    #[doc(hidden)]
    fn modifier_coeffs(&self) -> Vec<&'static str> {
        Vec::new()
    }
    /// [`Rule::Sums`].
    fn sums(&self) -> Vec<SumInit>;
    /// What a pass adds up over each tensor.
    #[doc(hidden)]
    fn sums_of(&self, pass: Pass) -> Vec<SumInit> {
        if pass == Pass::Sum { self.sums() } else { Vec::new() }
    }
    /// The passes of a step, in order.
    fn passes(&self) -> Vec<Pass> {
        let sum = (!self.sums().is_empty()).then_some(Pass::Sum);
        sum.into_iter().chain([Pass::Update]).collect()
    }
    /// [`Rule::scalars`].
    fn scalars(&self) -> Vec<StateInit>;
    /// [`Rule::advance`].
    fn advance(&self, step: u64, scalars: &mut [f64]);
    /// [`Rule::scalars_after`].
    fn scalars_after(&self, steps: u64) -> Vec<f64>;
    /// Appends one step's coefficients: those of [`Rule::before`] and [`Rule::after`] first, then
    /// the rule's own.
    fn coeffs(&self, step: u64, scalars: &[f64], out: &mut Vec<f64>);
    /// [`Rule::with_sums`], in place.
    fn with_sums(&self, coeffs: &mut [f64], sums: &[f64]);
    /// The same by the sums of any pass.
    #[doc(hidden)]
    fn with_sums_of(&self, _: Pass, coeffs: &mut [f64], sums: &[f64]) {
        self.with_sums(coeffs, sums);
    }
    /// The coefficients as a program of the step, advance included; it replaces what the program
    /// was.
    ///
    /// # Errors
    /// It is too long.
    fn record(&self, program: &mut Program) -> Result<(), Error>;
    /// A copy.
    fn boxed(&self) -> Box<dyn DynRule>;
    /// One step of a run of elements, with these coefficients and what was decided: the gradients'
    /// factor and limit.
    #[doc(hidden)]
    fn update_run(&self, coeffs: &[f64], scaling: [f64; 2], run: AnyRun<'_>);
    /// What a run of elements adds to each sum: their sum, or the sum of their squares for a norm.
    #[doc(hidden)]
    fn sum_run(&self, coeffs: &[f64], scaling: [f64; 2], view: AnyView<'_>) -> [f64; MAX_SUMS];
    /// The same for the sums of any pass.
    #[doc(hidden)]
    fn sum_run_of(
        &self,
        _: Pass,
        coeffs: &[f64],
        scaling: [f64; 2],
        view: AnyView<'_>,
    ) -> [f64; MAX_SUMS] {
        self.sum_run(coeffs, scaling, view)
    }
}

impl dyn DynRule {
    /// The rule with its present numbers, without its modifiers, if it is of this type:
    /// `optimizer.rule(0)?.downcast_ref::<Adam>()`.
    pub fn downcast_ref<R: Rule>(&self) -> Option<&R> {
        self.as_any().downcast_ref()
    }
}

impl<R: Rule> From<R> for Box<dyn DynRule> {
    fn from(rule: R) -> Self {
        Box::new(rule)
    }
}

/// How many numbers come before a rule's own coefficients.
pub(crate) const AROUND: usize = <Around<f64> as Fields<f64>>::NAMES.len();

/// Refuses a rule with more of something than there is room for.
fn at_most(rule: &str, most: usize, found: usize, what: &str) -> Result<(), Error> {
    if found <= most {
        return Ok(());
    }
    Err(Error::rule(rule, format!("it has {found} {what}, but a rule may have at most {most}")))
}

fn around<R: Rule>(rule: &R) -> Around<f64> {
    Around::new(rule.before(), rule.after())
}

/// Refuses numbers of which f32 makes infinite coefficients, as a huge learning rate divided by a
/// bias correction. Corrections are the largest at the first step.
fn first_coeffs_fit<R: Rule>(rule: &R) -> Result<(), Error> {
    let (names, step) = (<R::Coeffs<f64> as Fields<f64>>::NAMES, Step::new(1.0));
    let mut scalars: Vec<_> = Rule::scalars(rule).iter().map(|scalar| scalar.value).collect();
    Rule::advance(rule, step, &mut scalars);
    let mut overflowed = None;
    Rule::coeffs(rule, step, &scalars).each(|k, x| {
        if x.is_finite() && !(x as f32).is_finite() {
            overflowed.get_or_insert((names[k], x));
        }
    });
    overflowed.map_or(Ok(()), |(name, x)| {
        let remedy = "It is computed of the hyperparameters: give smaller ones, `lr` first";
        let expected = "a coefficient that f32 holds at the first step, at most 3.4e38";
        Check::new(R::NAME).that(false, name, expected, format!("{x:e}"), remedy).finish()
    })
}

impl<R: Rule> DynRule for R {
    fn name(&self) -> &'static str {
        R::NAME
    }
    fn wgsl(&self) -> &'static str {
        R::WGSL
    }
    fn own(&self) -> &dyn DynRule {
        self
    }
    fn lr(&self) -> f64 {
        Rule::lr(self)
    }
    fn set_lr(&mut self, lr: f64) {
        Rule::set_lr(self, lr);
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        Rule::hyperparameters(self)
    }
    fn validate(&self) -> Result<(), Error> {
        at_most(R::NAME, MAX_STATES, self.state_names().len(), "states")?;
        at_most(R::NAME, MAX_SUMS, DynRule::sums(self).len(), "sums")?;
        Rule::validate(self)?;
        around(self).validate(R::NAME)?;
        first_coeffs_fit(self)
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        Rule::options(self)
    }
    fn keep_options(&mut self, built: &dyn DynRule) {
        if let Some(built) = built.as_any().downcast_ref() {
            Rule::keep_options(self, built);
        }
    }
    fn as_any(&self) -> &dyn Any {
        self
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
    fn non_negative_states(&self) -> &'static [&'static str] {
        R::non_negative_states()
    }
    fn coeff_names(&self) -> &'static [&'static str] {
        <R::Coeffs<f64> as Fields<f64>>::NAMES
    }
    fn sums(&self) -> Vec<SumInit> {
        let names = <R::Sums<f64> as Fields<f64>>::NAMES;
        let mut sums = Vec::new();
        R::sum_kinds().each(|k, kind| sums.push(SumInit { name: names[k], kind }));
        sums
    }
    fn scalars(&self) -> Vec<StateInit> {
        Rule::scalars(self)
    }
    fn advance(&self, step: u64, scalars: &mut [f64]) {
        Rule::advance(self, Step::new(step as f64), scalars);
    }
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        Rule::scalars_after(self, steps)
    }
    fn coeffs(&self, step: u64, scalars: &[f64], out: &mut Vec<f64>) {
        Around { step: step as f64, ..around(self) }.each(|_, x| out.push(x));
        Rule::coeffs(self, Step::new(step as f64), scalars).each(|_, x| out.push(x));
    }
    fn with_sums(&self, coeffs: &mut [f64], sums: &[f64]) {
        let own = &mut coeffs[AROUND..];
        let shared = R::Coeffs::from_fn(|k| own[k]);
        Rule::with_sums(self, shared, &R::Sums::from_fn(|k| sums[k])).each(|k, x| own[k] = x);
    }
    fn record(&self, program: &mut Program) -> Result<(), Error> {
        let tape = program.restart();
        let step = tape.step();
        let count = Rule::scalars(self).len();
        let mut scalars: Vec<_> = (0..count).map(|index| tape.input(index)).collect();
        Rule::advance(self, step, &mut scalars);
        let Around { maximize, weight_decay, decay, .. } = around(self);
        let known = [maximize, weight_decay, decay].map(Traced::from);
        known.into_iter().chain([step.number()]).for_each(|x| program.coeff(x));
        Rule::coeffs(self, step, &scalars).each(|_, x| program.coeff(x));
        scalars.into_iter().for_each(|scalar| program.scalar(&tape, scalar));
        program.finish(R::NAME, tape)
    }
    fn boxed(&self) -> Box<dyn DynRule> {
        Box::new(self.clone())
    }
    fn update_run(&self, coeffs: &[f64], scaling: [f64; 2], run: AnyRun<'_>) {
        let scaling = Scaling::from_fn(|k| scaling[k]);
        match run {
            AnyRun::F32(run) => update_run(self, coeffs, &scaling, run),
            AnyRun::F64(run) => update_run(self, coeffs, &scaling, run),
        }
    }
    fn sum_run(&self, coeffs: &[f64], scaling: [f64; 2], view: AnyView<'_>) -> [f64; MAX_SUMS] {
        let scaling = Scaling::from_fn(|k| scaling[k]);
        match view {
            AnyView::F32(view) => sum_run(self, coeffs, &scaling, &view),
            AnyView::F64(view) => sum_run(self, coeffs, &scaling, &view),
        }
    }
}
