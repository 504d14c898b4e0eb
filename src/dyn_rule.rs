//! A rule whose type was erased, so that an optimizer can hold rules of many types.

use crate::error::Error;
use crate::number::Step;
use crate::program::Program;
use crate::rule::{Before, Fields, MAX_STATES, Rule, StateInit};
use crate::run::{Norms, Run, TrustRatio, View, norms_of_run, update_run};
use std::fmt::Debug;

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
    /// The same as a program of the step, advance included; it takes the place of what the program was.
    ///
    /// # Errors
    /// It is too long.
    fn record(&self, program: &mut Program) -> Result<(), Error>;
    /// A copy.
    fn boxed(&self) -> Box<dyn DynRule>;
    #[doc(hidden)]
    fn trust_ratio(&self) -> Option<TrustRatio>;
    #[doc(hidden)]
    fn norms_f32(&self, coeffs: &[f64], view: &View<'_, f32>) -> Norms;
    #[doc(hidden)]
    fn norms_f64(&self, coeffs: &[f64], view: &View<'_, f64>) -> Norms;
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
        if R::TRUST_RATIO && self.trust_ratio().is_none() {
            let coeffs = self.coeff_names().join(", ");
            return Err(Error::rule(
                R::NAME,
                format!(
                    "a rule with a trust ratio needs the coefficients `lr` and `trust_coefficient`, but \
                     has: {coeffs}"
                ),
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
        Rule::advance(self, Step::new(step as f64), scalars);
    }
    fn coeffs(&self, step: u64, scalars: &[f64], out: &mut Vec<f64>) {
        self.before().each(|_, x| out.push(x));
        Rule::coeffs(self, Step::new(step as f64), scalars).each(|_, x| out.push(x));
    }
    fn record(&self, program: &mut Program) -> Result<(), Error> {
        let tape = program.restart();
        let step = tape.step();
        let count = Rule::scalars(self).len();
        let mut scalars: Vec<_> = (0..count).map(|index| tape.input(index)).collect();
        Rule::advance(self, step, &mut scalars);
        self.before().each(|_, x| program.coeff(x.into()));
        Rule::coeffs(self, step, &scalars).each(|_, x| program.coeff(x));
        scalars.into_iter().for_each(|scalar| program.scalar(&tape, scalar));
        program.finish(R::NAME, tape)
    }
    fn boxed(&self) -> Box<dyn DynRule> {
        Box::new(self.clone())
    }
    fn trust_ratio(&self) -> Option<TrustRatio> {
        let position = |name| self.coeff_names().iter().position(|known| *known == name);
        let (lr, trust_coefficient) = (position("lr")?, position("trust_coefficient")?);
        let before = Before::<f64>::NAMES.len();
        R::TRUST_RATIO.then_some(TrustRatio {
            lr: before + lr,
            trust_coefficient: before + trust_coefficient,
        })
    }
    fn norms_f32(&self, coeffs: &[f64], view: &View<'_, f32>) -> Norms {
        norms_of_run(self, coeffs, view)
    }
    fn norms_f64(&self, coeffs: &[f64], view: &View<'_, f64>) -> Norms {
        norms_of_run(self, coeffs, view)
    }
    fn run_f32(&self, coeffs: &[f64], run: Run<'_, f32>) {
        update_run(self, coeffs, run);
    }
    fn run_f64(&self, coeffs: &[f64], run: Run<'_, f64>) {
        update_run(self, coeffs, run);
    }
}
