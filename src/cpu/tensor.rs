//! One parameter's arrays on the CPU, and a rule's passes over them.

use crate::cpu::coded::{Coded, Storing, apart, joined};
use crate::cpu::stored::{Stored, View, ViewMut};
use crate::model::Member;
use crate::optimizer::Array;
use crate::rule::{DynRule, MAX_SUMS, Pass, Real, Run, SumKind};
use std::borrow::Cow;

/// A parameter's arrays.
#[derive(Debug)]
pub(super) struct Tensor<T> {
    storing: Storing,
    len: usize,
    pub param: Stored<T>,
    pub grad: Stored<T>,
    /// Those in use, and what is kept beside a 16-bit parameter.
    pub states: Vec<Stored<T>>,
}

/// Elements that a thread takes at once: enough to hide rayon's cost, few enough to balance; whole
/// blocks.
const CHUNK: usize = 1 << 15;

/// What a tensor's elements add to each sum, squares for a norm.
type Sums = [f64; MAX_SUMS];

impl<T: Real> Tensor<T> {
    /// All zero, with states as they are before the first step.
    pub fn new(member: &Member, rule: &dyn DynRule) -> Self {
        let Member { len, formats, noise_key, .. } = *member;
        let states = formats.arrays(rule).into_iter();
        Self {
            storing: Storing { formats, noise_key },
            len,
            param: Stored::new(formats.param, len, 0.0),
            grad: Stored::new(formats.grad, len, 0.0),
            states: states.map(|(state, codec)| Stored::new(codec, len, state.value)).collect(),
        }
    }

    /// Sets an array's elements. Whoever writes a parameter writes what it stands for.
    pub fn set(&mut self, array: Array, values: &[T]) {
        let formats = &self.storing.formats;
        match (array, formats.kept()) {
            (Array::Param, Some(kept)) => {
                let (values, rest): (Vec<_>, Vec<_>) =
                    values.iter().map(|&x| apart(formats, x, 0)).unzip();
                self.param.set(&values);
                self.states[kept].set(&rest);
            }
            (Array::Param, None) => self.param.set(values),
            (Array::Grad, _) => self.grad.set(values),
            (Array::State(state), _) => self.states[state].set(values),
        }
    }

    /// Exchanges the parameter and its average, which is the state of this index.
    pub fn swap_average(&mut self, average: usize) {
        let mut exact = self.param.values().to_vec();
        if let Some(kept) = self.storing.formats.kept() {
            let kept = self.states[kept].values();
            for (p, &kept) in exact.iter_mut().zip(&kept) {
                *p = joined(&self.storing.formats, *p, kept);
            }
        }
        let values = self.states[average].values().to_vec();
        self.states[average].set(&exact);
        self.set(Array::Param, &values);
    }

    /// Zeroes the gradient.
    pub fn zero_grad(&mut self) {
        match &mut self.grad {
            Stored::Plain(values) => values.fill(T::default()),
            Stored::Coded(_, bytes, _) => bytes.fill(0),
        }
    }

    /// One step, on this thread.
    pub fn step(&mut self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) {
        let coeffs = own_coeffs(rule, coeffs, |pass, coeffs| {
            let sums = self.chunks().map(|chunk| chunk.sums((rule, pass), coeffs, scaling));
            sums.fold(Sums::default(), plus)
        });
        self.chunks().for_each(|chunk| chunk.update(rule, &coeffs, scaling));
    }

    /// The same on all threads, with the same bits: each chunk's sums are added up in order.
    #[cfg(feature = "rayon")]
    pub fn par_step(&mut self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) {
        use rayon::prelude::*;
        let coeffs = own_coeffs(rule, coeffs, |pass, coeffs| {
            let chunks: Vec<_> = self.chunks().collect();
            let sums =
                chunks.into_par_iter().map(|chunk| chunk.sums((rule, pass), coeffs, scaling));
            sums.collect::<Vec<_>>().into_iter().fold(Sums::default(), plus)
        });
        let chunks: Vec<_> = self.chunks().collect();
        chunks.into_par_iter().for_each(|chunk| chunk.update(rule, &coeffs, scaling));
    }

    /// The elements in chunks that a thread takes one at a time.
    fn chunks(&mut self) -> impl Iterator<Item = Chunk<'_, T>> {
        let (storing, len) = (self.storing, self.len);
        let (mut param, mut grad) = (self.param.view_mut(), self.grad.view());
        let mut states: Vec<_> = self.states.iter_mut().map(Stored::view_mut).collect();
        (0..len).step_by(CHUNK).map(move |first| {
            let len = CHUNK.min(len - first);
            let states = states.iter_mut().map(|state| state.take(len)).collect();
            let (param, grad) = (param.take(len), grad.take(len));
            Chunk::new(Coded { storing, first, len, param, grad, states })
        })
    }
}

/// A tensor's coefficients: the group's, or what the rule makes of them and the tensor's sums, pass
/// by pass.
fn own_coeffs<'a>(
    rule: &dyn DynRule,
    coeffs: &'a [f64],
    mut sums: impl FnMut(Pass, &[f64]) -> Sums,
) -> Cow<'a, [f64]> {
    let mut own = Cow::Borrowed(coeffs);
    for pass in rule.passes().into_iter().filter(|pass| *pass != Pass::Update) {
        let mut sums = sums(pass, &own);
        for (sum, of) in sums.iter_mut().zip(rule.sums_of(pass)) {
            if of.kind == SumKind::Norm {
                *sum = sum.sqrt();
            }
        }
        rule.with_sums_of(pass, own.to_mut(), &sums);
    }
    own
}

fn plus(a: Sums, b: Sums) -> Sums {
    std::array::from_fn(|k| a[k] + b[k])
}

/// Consecutive elements of one tensor.
enum Chunk<'a, T> {
    /// All of the engine's own type.
    Plain(&'a mut [T], &'a [T], Vec<&'a mut [T]>),
    Coded(Coded<'a, T>),
}

impl<'a, T: Real> Chunk<'a, T> {
    fn new(chunk: Coded<'a, T>) -> Self {
        let plain = |state: &ViewMut<'_, T>| matches!(state, ViewMut::Plain(_));
        if !(plain(&chunk.param) && chunk.states.iter().all(plain)) {
            return Self::Coded(chunk);
        }
        match (chunk.param, chunk.grad) {
            (ViewMut::Plain(param), View::Plain(grad)) => {
                let states = chunk.states.into_iter().filter_map(|state| match state {
                    ViewMut::Plain(values) => Some(values),
                    ViewMut::Coded(..) => None,
                });
                Self::Plain(param, grad, states.collect())
            }
            (param, grad) => Self::Coded(Coded { param, grad, ..chunk }),
        }
    }

    fn update(self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) {
        match self {
            Self::Plain(params, grads, states) => {
                // For as long as this run, which is shorter than the chunk's life.
                let mut states: Vec<&mut [T]> = states;
                let run = Run { params, grads, states: &mut states };
                rule.update_run(coeffs, scaling, T::any_run(run));
            }
            Self::Coded(chunk) => chunk.update(rule, coeffs, scaling),
        }
    }

    fn sums(&self, (rule, pass): (&dyn DynRule, Pass), coeffs: &[f64], scaling: [f64; 2]) -> Sums {
        match self {
            Self::Plain(params, grads, states) => {
                let states: Vec<&[T]> = states.iter().map(|state| &**state).collect();
                let view = crate::rule::View { params, grads, states: &states };
                rule.sum_run_of(pass, coeffs, scaling, T::any_view(view))
            }
            Self::Coded(chunk) => chunk.sums((rule, pass), coeffs, scaling),
        }
    }
}
