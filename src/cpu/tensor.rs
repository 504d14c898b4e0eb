//! One parameter's arrays on the CPU, and a rule's passes over them.

use crate::optimizer::Array;
use crate::rule::{DynRule, MAX_SUMS, Real, Run, StateInit, SumKind, View};
use ndarray::Array1;
use std::borrow::Cow;

/// A parameter's arrays.
#[derive(Debug)]
pub(super) struct Tensor<T> {
    pub param: Array1<T>,
    pub grad: Array1<T>,
    /// Those in use.
    pub states: Vec<Array1<T>>,
}

const CONTIGUOUS: &str = "one-dimensional arrays that were made here are contiguous";

/// Elements that a thread takes at once: enough to hide rayon's cost, few enough to balance.
const CHUNK: usize = 1 << 15;

/// What a tensor's elements add to each sum, squares for a norm.
type Sums = [f64; MAX_SUMS];

impl<T: Real> Tensor<T> {
    /// All zero, with states as they are before the first step.
    pub fn new(len: usize, states: &[StateInit]) -> Self {
        let filled = |value| Array1::from_elem(len, value);
        Self {
            param: filled(T::default()),
            grad: filled(T::default()),
            states: states.iter().map(|state| filled(T::from_f64(state.value))).collect(),
        }
    }

    pub fn array_mut(&mut self, array: Array) -> &mut Array1<T> {
        match array {
            Array::Param => &mut self.param,
            Array::Grad => &mut self.grad,
            Array::State(state) => &mut self.states[state],
        }
    }

    /// One step, on this thread.
    pub fn step(&mut self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) {
        let coeffs = own_coeffs(rule, coeffs, |coeffs| {
            let sums = self.chunks().map(|chunk| chunk.sums(rule, coeffs, scaling));
            sums.fold(Sums::default(), plus)
        });
        self.chunks().for_each(|chunk| chunk.update(rule, &coeffs, scaling));
    }

    /// The same on all threads, with the same bits: each chunk's sums are added up in order.
    #[cfg(feature = "rayon")]
    pub fn par_step(&mut self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) {
        use rayon::prelude::*;
        let coeffs = own_coeffs(rule, coeffs, |coeffs| {
            let chunks: Vec<_> = self.chunks().collect();
            let sums = chunks.into_par_iter().map(|chunk| chunk.sums(rule, coeffs, scaling));
            sums.collect::<Vec<_>>().into_iter().fold(Sums::default(), plus)
        });
        let chunks: Vec<_> = self.chunks().collect();
        chunks.into_par_iter().for_each(|chunk| chunk.update(rule, &coeffs, scaling));
    }

    /// The elements in chunks that a thread takes one at a time.
    fn chunks(&mut self) -> impl Iterator<Item = Chunk<'_, T>> {
        let param = self.param.as_slice_mut().expect(CONTIGUOUS).chunks_mut(CHUNK);
        let grad = self.grad.as_slice().expect(CONTIGUOUS).chunks(CHUNK);
        let mut states: Vec<_> = self
            .states
            .iter_mut()
            .map(|s| s.as_slice_mut().expect(CONTIGUOUS).chunks_mut(CHUNK))
            .collect();
        param.zip(grad).map(move |(param, grad)| {
            let states = states.iter_mut().filter_map(Iterator::next).collect();
            Chunk { param, grad, states }
        })
    }
}

/// A tensor's coefficients: the group's, or what the rule makes of them and the tensor's sums.
fn own_coeffs<'a>(
    rule: &dyn DynRule,
    coeffs: &'a [f64],
    sums: impl FnOnce(&[f64]) -> Sums,
) -> Cow<'a, [f64]> {
    let kinds = rule.sums();
    if kinds.is_empty() {
        return Cow::Borrowed(coeffs);
    }
    let mut sums = sums(coeffs);
    for (sum, of) in sums.iter_mut().zip(kinds) {
        if of.kind == SumKind::Norm {
            *sum = sum.sqrt();
        }
    }
    let mut own = coeffs.to_vec();
    rule.with_sums(&mut own, &sums);
    Cow::Owned(own)
}

fn plus(a: Sums, b: Sums) -> Sums {
    std::array::from_fn(|k| a[k] + b[k])
}

/// Consecutive elements of one tensor.
struct Chunk<'a, T> {
    param: &'a mut [T],
    grad: &'a [T],
    states: Vec<&'a mut [T]>,
}

impl<T: Real> Chunk<'_, T> {
    fn update(mut self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) {
        let mut states: Vec<&mut [T]> = self.states.iter_mut().map(|state| &mut **state).collect();
        let run = Run { params: self.param, grads: self.grad, states: &mut states };
        rule.update_run(coeffs, scaling, T::any_run(run));
    }

    fn sums(&self, rule: &dyn DynRule, coeffs: &[f64], scaling: [f64; 2]) -> Sums {
        let states: Vec<&[T]> = self.states.iter().map(|state| &**state).collect();
        let view = View { params: self.param, grads: self.grad, states: &states };
        rule.sum_run(coeffs, scaling, T::any_view(view))
    }
}
