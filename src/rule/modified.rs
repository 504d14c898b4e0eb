//! A rule with modifiers: a rule like any other, which hands all that is the rule's own to it.

use crate::error::{Check, Error};
use crate::rule::around::{Around, Scaling};
use crate::rule::erased::{AROUND, DynRule};
use crate::rule::fields::Fields;
use crate::rule::formula::{MAX_SUMS, Pass, StateInit, SumInit, SumKind};
use crate::rule::hyperparameters::Hyperparameter;
use crate::rule::modifiers::{DecayKind, Modifiers};
use crate::rule::modifying::{Numbers, disagree};
use crate::rule::number::Step;
use crate::rule::program::Program;
use crate::rule::real::Real;
use crate::rule::run::{AnyRun, AnyView, Run, View};
use std::any::Any;

/// A rule and what modifies it.
#[derive(Debug)]
struct Modified {
    rule: Box<dyn DynRule>,
    modifiers: Modifiers,
}

impl Modifiers {
    /// A rule with these modifiers, in place of those that it may have.
    pub fn on(self, rule: impl Into<Box<dyn DynRule>>) -> Box<dyn DynRule> {
        let rule = rule.into().own().boxed();
        Box::new(Modified { rule, modifiers: self })
    }
}

/// A rule that is to take the place of another: with the other's modifiers, unless it has its own.
pub(crate) fn with_modifiers_of(rule: Box<dyn DynRule>, built: &dyn DynRule) -> Box<dyn DynRule> {
    match (rule.modifiers(), built.modifiers()) {
        (None, Some(modifiers)) => modifiers.on(rule),
        _ => rule,
    }
}

/// Elements that are stepped at once: few enough to stay in the first cache.
const TILE: usize = 1024;

/// The index of coupled and of decoupled decay among what happens around every rule.
const COUPLED: usize = 1;
const DECOUPLED: usize = 2;

/// Where modifiers' numbers start among coefficients is a multiple of this, as a slot's structs do.
const ALIGNMENT: usize = 4;

impl Modified {
    /// How many coefficients come before the modifiers' numbers.
    fn first_number(&self) -> usize {
        (AROUND + self.rule.coeff_names().len()).next_multiple_of(ALIGNMENT)
    }

    /// The coefficients of coupled and decoupled decay, if they are the modifiers'.
    fn decay(&self) -> Option<[f64; 2]> {
        let decay = self.modifiers.decay?;
        let coupled = if decay.kind == DecayKind::Coupled { decay.weight_decay } else { 0.0 };
        Some([coupled, decay.share(self.rule.lr())])
    }

    fn numbers<T: Real>(&self, coeffs: &[f64]) -> Numbers<T> {
        self.modifiers.numbers_of(coeffs.get(self.first_number()..).unwrap_or_default())
    }

    /// What the rule itself is to do: its coefficients without decay after the update, and the
    /// scaling of this tensor's gradient.
    fn of_rule(&self, coeffs: &[f64], [factor, limit]: [f64; 2]) -> (Vec<f64>, [f64; 2]) {
        let mut own = coeffs[..AROUND + self.rule.coeff_names().len()].to_vec();
        own[DECOUPLED] = 0.0;
        let clips = self.modifiers.clip_grad_tensor.is_some();
        let tensor = if clips { self.numbers::<f64>(coeffs).grad_scale } else { 1.0 };
        (own, [factor * tensor, limit])
    }

    fn sums_updates(&self) -> bool {
        self.modifiers.cautious || self.modifiers.clip_update.is_some()
    }

    /// Refuses two kinds of weight decay at once.
    fn check_decay(&self) -> Result<(), Error> {
        let mut rule = self.rule.boxed();
        let told = rule.hyperparameters().into_iter().find_map(|told| match told {
            ("weight_decay", Hyperparameter::Number(number)) => Some(*number),
            _ => None,
        });
        let mut coeffs = Vec::new();
        let scalars = self.rule.scalars_after(1);
        self.rule.coeffs(1, &scalars, &mut coeffs);
        let own = told.unwrap_or(coeffs[COUPLED].max(coeffs[DECOUPLED]));
        Check::new(self.rule.name())
            .that(
                self.modifiers.decay.is_none() || own == 0.0,
                "weight_decay",
                "0 where a modifier decays weights",
                own,
                "Set the rule's own to 0, or leave out `Modifiers::decay`",
            )
            .finish()
    }
}

impl DynRule for Modified {
    fn name(&self) -> &'static str {
        self.rule.name()
    }
    fn wgsl(&self) -> &'static str {
        self.rule.wgsl()
    }
    fn modifiers(&self) -> Option<&Modifiers> {
        Some(&self.modifiers)
    }
    fn own(&self) -> &dyn DynRule {
        self.rule.as_ref()
    }
    fn lr(&self) -> f64 {
        self.rule.lr()
    }
    fn set_lr(&mut self, lr: f64) {
        self.rule.set_lr(lr);
    }
    fn hyperparameters(&mut self) -> Vec<(&'static str, Hyperparameter<'_>)> {
        let Self { rule, modifiers } = self;
        rule.hyperparameters().into_iter().chain(modifiers.hyperparameters()).collect()
    }
    fn validate(&self) -> Result<(), Error> {
        self.rule.validate()?;
        self.modifiers.validate()?;
        self.check_decay()?;
        let [coupled, decay] = self.decay().unwrap_or_default();
        Around { maximize: 0.0, weight_decay: coupled, decay, step: 0.0 }.validate("Modifiers")
    }
    fn options(&self) -> Vec<(&'static str, bool)> {
        let flags = self.modifiers.flags().into_iter().map(|flag| (flag, true));
        self.rule.options().into_iter().chain(flags).collect()
    }
    fn keep_options(&mut self, built: &dyn DynRule) {
        self.rule.keep_options(built);
    }
    fn as_any(&self) -> &dyn Any {
        self.rule.as_any()
    }
    fn states(&self) -> Vec<StateInit> {
        let kept = self.modifiers.kept().into_iter().map(|name| StateInit { name, value: 0.0 });
        self.rule.states().into_iter().chain(kept).collect()
    }
    fn state_names(&self) -> &'static [&'static str] {
        self.rule.state_names()
    }
    fn non_negative_states(&self) -> &'static [&'static str] {
        self.rule.non_negative_states()
    }
    fn coeff_names(&self) -> &'static [&'static str] {
        self.rule.coeff_names()
    }
    fn modifier_coeffs(&self) -> Vec<&'static str> {
        self.modifiers.number_names()
    }
    fn sums(&self) -> Vec<SumInit> {
        self.rule.sums()
    }
    fn sums_of(&self, pass: Pass) -> Vec<SumInit> {
        let total = |name| SumInit { name, kind: SumKind::Total };
        let norm = |name| SumInit { name, kind: SumKind::Norm };
        match pass {
            Pass::SumGrads => vec![norm("grad")],
            Pass::SumUpdates => {
                let update = self.modifiers.clip_update.map(|_| norm("update"));
                let agreeing = self.modifiers.cautious.then(|| total("agreeing"));
                [total("elements")].into_iter().chain(agreeing).chain(update).collect()
            }
            Pass::Sum | Pass::Update => self.rule.sums_of(pass),
        }
    }
    fn passes(&self) -> Vec<Pass> {
        let grads = self.modifiers.clip_grad_tensor.map(|_| Pass::SumGrads);
        let updates = self.sums_updates().then_some(Pass::SumUpdates);
        let mut passes = self.rule.passes();
        let last = passes.len() - 1;
        passes.splice(last..last, updates);
        grads.into_iter().chain(passes).collect()
    }
    fn scalars(&self) -> Vec<StateInit> {
        self.rule.scalars()
    }
    fn advance(&self, step: u64, scalars: &mut [f64]) {
        self.rule.advance(step, scalars);
    }
    fn scalars_after(&self, steps: u64) -> Vec<f64> {
        self.rule.scalars_after(steps)
    }
    fn coeffs(&self, step: u64, scalars: &[f64], out: &mut Vec<f64>) {
        let first = out.len();
        self.rule.coeffs(step, scalars, out);
        if let Some(decay) = self.decay() {
            out[first + COUPLED..=first + DECOUPLED].copy_from_slice(&decay);
        }
        if self.modifiers.used().next().is_none() {
            return;
        }
        out.resize(first + self.first_number(), 0.0);
        let numbers = self.modifiers.numbers(Step::new(step as f64), self.rule.lr());
        let mut all = Vec::new();
        numbers.each(|_, x: f64| all.push(x));
        out.extend(self.modifiers.used().map(|index| all[index]));
    }
    fn with_sums(&self, coeffs: &mut [f64], sums: &[f64]) {
        self.rule.with_sums(coeffs, sums);
    }
    fn with_sums_of(&self, pass: Pass, coeffs: &mut [f64], sums: &[f64]) {
        let numbers = self.numbers::<f64>(coeffs);
        let (name, scale) = match pass {
            Pass::Sum | Pass::Update => return self.rule.with_sums_of(pass, coeffs, sums),
            Pass::SumGrads => ("grad_scale", held_to(numbers.grad_scale, sums[0])),
            Pass::SumUpdates => ("update_scale", self.update_scale(numbers.update_scale, sums)),
        };
        let index = self.modifiers.number_names().iter().position(|known| *known == name);
        if let Some(index) = index {
            coeffs[self.first_number() + index] = scale;
        }
    }
    fn record(&self, program: &mut Program) -> Result<(), Error> {
        self.rule.record(program)?;
        if let Some(decay) = self.decay() {
            program.constants[COUPLED..=DECOUPLED].copy_from_slice(&decay);
        }
        if self.modifiers.used().next().is_none() {
            return Ok(());
        }
        program.constants.resize(self.first_number(), 0.0);
        let tape = program.resume();
        let mut all = Vec::new();
        let numbers = self.modifiers.numbers(tape.step(), self.rule.lr());
        numbers.each(|_, x| all.push(x));
        self.modifiers.used().for_each(|index| program.coeff(all[index]));
        program.finish(self.name(), tape)
    }
    fn boxed(&self) -> Box<dyn DynRule> {
        self.modifiers.on(self.rule.boxed())
    }
    fn update_run(&self, coeffs: &[f64], scaling: [f64; 2], run: AnyRun<'_>) {
        match run {
            AnyRun::F32(run) => self.update(coeffs, scaling, run),
            AnyRun::F64(run) => self.update(coeffs, scaling, run),
        }
    }
    fn sum_run(&self, coeffs: &[f64], scaling: [f64; 2], view: AnyView<'_>) -> [f64; MAX_SUMS] {
        self.sum_run_of(Pass::Sum, coeffs, scaling, view)
    }
    fn sum_run_of(
        &self,
        pass: Pass,
        coeffs: &[f64],
        scaling: [f64; 2],
        view: AnyView<'_>,
    ) -> [f64; MAX_SUMS] {
        match view {
            AnyView::F32(view) => self.sums_in(pass, coeffs, scaling, &view),
            AnyView::F64(view) => self.sums_in(pass, coeffs, scaling, &view),
        }
    }
}

/// What holds a norm to a limit, written so that a NaN stays one.
fn held_to(limit: f64, norm: f64) -> f64 {
    if norm <= limit { 1.0 } else { limit / norm }
}

/// The least share of agreeing elements that an update is divided by.
const LEAST_SHARE: f64 = 1e-3;

impl Modified {
    /// What a tensor's update is multiplied by.
    fn update_scale(&self, limit: f64, sums: &[f64]) -> f64 {
        let mut sums = sums.iter().copied();
        let mut next = || sums.next().unwrap_or_default();
        let elements = next();
        let agreeing = if self.modifiers.cautious { next() } else { elements };
        let clip = match self.modifiers.clip_update {
            Some(_) => held_to(limit, next() / elements.sqrt()),
            None => 1.0,
        };
        clip / (agreeing / elements).max(LEAST_SHARE)
    }

    /// What happens around every rule, as this tensor's gradient needs it for masks.
    fn around<T: Real>(&self, coeffs: &[f64], scaling: [f64; 2]) -> (Around<T>, Scaling<T>) {
        let around = Around::from_fn(|k| T::from_f64(coeffs[k]));
        (around, Scaling::from_fn(|k| T::from_f64(scaling[k])))
    }

    /// A step of a run of elements, whose states are the rule's and then what modifiers keep.
    fn update<T: Real>(&self, coeffs: &[f64], scaling: [f64; 2], run: Run<'_, T>) {
        let (own, scaling) = self.of_rule(coeffs, scaling);
        let Run { params, grads, states } = run;
        let (states, kept) = states.split_at_mut(self.rule.states().len());
        let mut old = [T::default(); TILE];
        for start in (0..params.len()).step_by(TILE) {
            let range = start..params.len().min(start + TILE);
            let (params, grads) = (&mut params[range.clone()], &grads[range.clone()]);
            let old = &mut old[..params.len()];
            old.copy_from_slice(params);
            let mut states: Vec<&mut [T]> =
                states.iter_mut().map(|state| &mut state[range.clone()]).collect();
            let run = Run { params: &mut *params, grads, states: &mut states };
            self.rule.update_run(&own, scaling, T::any_run(run));
            let mut kept: Vec<&mut [T]> =
                kept.iter_mut().map(|state| &mut state[range.clone()]).collect();
            self.modify((coeffs, scaling), old, Run { params, grads, states: &mut kept });
        }
    }

    /// What modifiers do to elements that the rule has updated.
    fn modify<T: Real>(&self, (coeffs, scaling): (&[f64], [f64; 2]), old: &[T], run: Run<'_, T>) {
        let Run { params, grads, states } = run;
        let (numbers, of) = (self.numbers::<T>(coeffs), &self.modifiers);
        let (around, scaling) = self.around::<T>(coeffs, scaling);
        if self.sums_updates() {
            for ((p, &old), &g) in params.iter_mut().zip(old).zip(grads) {
                let g = around.without_decay().gradient(&scaling, old, g);
                *p = numbers.scaled(of.cautious, old, *p, g);
            }
        }
        for (p, &old) in params.iter_mut().zip(old) {
            *p = numbers.finished(of, &around, old, *p);
        }
        let (average, slow) = states.split_at_mut(usize::from(of.average.is_some()));
        for (i, slow) in slow.iter_mut().flat_map(|slow| slow.iter_mut()).enumerate() {
            numbers.look_ahead(old[i], &mut params[i], slow);
        }
        for (i, average) in average.iter_mut().flat_map(|average| average.iter_mut()).enumerate() {
            *average = numbers.averaged(old[i], params[i], *average);
        }
    }

    fn sums_in<T: Real>(
        &self,
        pass: Pass,
        coeffs: &[f64],
        scaling: [f64; 2],
        view: &View<'_, T>,
    ) -> [f64; MAX_SUMS] {
        let View { params, grads, states } = *view;
        let states = &states[..self.rule.states().len()];
        match pass {
            Pass::SumGrads => {
                let (_, scaling) = self.around::<T>(coeffs, scaling);
                let squares = grads.iter().map(|&g| (scaling.factor * g).to_f64().powi(2));
                [squares.sum(), 0.0, 0.0, 0.0]
            }
            Pass::SumUpdates => self.sums_of_updates(coeffs, scaling, view),
            Pass::Sum | Pass::Update => {
                let (own, scaling) = self.of_rule(coeffs, scaling);
                let view = View { params, grads, states };
                self.rule.sum_run_of(pass, &own, scaling, T::any_view(view))
            }
        }
    }

    /// The sums of the update that a rule would take.
    fn sums_of_updates<T: Real>(
        &self,
        coeffs: &[f64],
        scaling: [f64; 2],
        view: &View<'_, T>,
    ) -> [f64; MAX_SUMS] {
        let (own, scaling) = self.of_rule(coeffs, scaling);
        let View { params: old, grads, states } = *view;
        let mut params = old.to_vec();
        let mut states: Vec<Vec<T>> =
            states[..self.rule.states().len()].iter().map(|state| state.to_vec()).collect();
        let mut states: Vec<&mut [T]> = states.iter_mut().map(Vec::as_mut_slice).collect();
        let run = Run { params: &mut params, grads, states: &mut states };
        self.rule.update_run(&own, scaling, T::any_run(run));
        let (around, scaling) = self.around::<T>(coeffs, scaling);
        let (mut agreeing, mut squares) = (0.0, 0.0);
        for ((&updated, &old), &g) in params.iter().zip(old).zip(grads) {
            let update = old - updated;
            let g = around.without_decay().gradient(&scaling, old, g);
            agreeing += f64::from(u8::from(!disagree(update, g)));
            squares += update.to_f64().powi(2);
        }
        let asked = [
            Some(old.len() as f64),
            self.modifiers.cautious.then_some(agreeing),
            self.modifiers.clip_update.map(|_| squares),
        ];
        let mut sums = [0.0; MAX_SUMS];
        sums.iter_mut().zip(asked.into_iter().flatten()).for_each(|(sum, x)| *sum = x);
        sums
    }
}
