//! The reference driver on ndarray: serial, or parallel where no GPU is found.

use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::groups::{Group, Groups};
use crate::rule::Real;
use crate::run::{Norms, Run, View};
use crate::values::Values;
use ndarray::{Array1, ArrayView1, ArrayViewMut1};
use std::borrow::Cow;
use std::marker::PhantomData;

/// An optimizer on the CPU, over `f32` (as the GPU computes) or `f64` (the yardstick).
///
/// It owns parameters, gradients and states, and speaks the same language as the GPU optimizer.
///
/// ```
/// use wgpu_optim::{CpuOptimizer, SGD};
/// let mut optimizer = CpuOptimizer::<f64>::builder()
///     .group(SGD { lr: 0.5, ..Default::default() }, [("w", 2)])
///     .build()?;
/// optimizer.set_param("w", &[1.0, -3.0])?;
/// for _ in 0..50 {
///     let gradient = optimizer.param("w")?.to_owned(); // of ½w²
///     optimizer.set_grad("w", &gradient)?;
///     optimizer.step()?;
/// }
/// assert!(optimizer.param("w")?.iter().all(|w| w.abs() < 1e-12));
/// # Ok::<(), wgpu_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct CpuOptimizer<T> {
    groups: Groups,
    tensors: Vec<Tensor<T>>,
}

/// A parameter's arrays.
#[derive(Debug)]
struct Tensor<T> {
    param: Array1<T>,
    grad: Array1<T>,
    states: Vec<Array1<T>>,
}

/// A group's rule, and its parameters' names and numbers of elements.
type NewGroup = (Box<dyn DynRule>, Vec<(String, usize)>);

/// Collects groups for a [`CpuOptimizer`].
#[derive(Debug)]
pub struct CpuBuilder<T> {
    groups: Vec<NewGroup>,
    element: PhantomData<T>,
}

impl<T: Real> CpuBuilder<T> {
    /// Adds parameters, by name and number of elements, that share a rule's hyperparameters.
    #[must_use]
    pub fn group<N: Into<String>>(
        mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = (N, usize)>,
    ) -> Self {
        let params = params.into_iter().map(|(name, len)| (name.into(), len)).collect();
        self.groups.push((rule.into(), params));
        self
    }

    /// Checks everything and allocates parameters and gradients, all zero, and states.
    ///
    /// # Errors
    /// A hyperparameter out of its range, or a name given twice.
    pub fn build(self) -> Result<CpuOptimizer<T>, Error> {
        let mut groups = Groups::default();
        let mut tensors = Vec::new();
        for (rule, params) in self.groups {
            let states = rule.states();
            groups.add_group(rule)?;
            for (name, len) in params {
                groups.add_param(name, len)?;
                let state = |value| Array1::from_elem(len, T::from_f64(value));
                tensors.push(Tensor {
                    param: state(0.0),
                    grad: state(0.0),
                    states: states.iter().map(|s| state(s.value)).collect(),
                });
            }
        }
        Ok(CpuOptimizer { groups, tensors })
    }
}

impl<T: Real> CpuOptimizer<T> {
    /// Starts an optimizer; add groups, then build it.
    pub fn builder() -> CpuBuilder<T> {
        CpuBuilder { groups: Vec::new(), element: PhantomData }
    }

    /// Takes one step from the present gradients, on this thread.
    ///
    /// # Errors
    /// None at present; it returns a `Result` as the GPU's step does.
    pub fn step(&mut self) -> Result<(), Error> {
        let coeffs = self.advance();
        for (tensor, param) in self.tensors.iter_mut().zip(&self.groups.params) {
            let rule = self.groups.groups[param.group].rule.as_ref();
            let norms = |coeffs: &[f64], tensor: &mut Tensor<T>| {
                tensor.chunks().fold(Norms::default(), |sum, chunk| sum + chunk.norms(rule, coeffs))
            };
            let coeffs = scaled(rule, &coeffs[param.group], tensor, norms);
            tensor.chunks().for_each(|chunk| chunk.update(rule, &coeffs));
        }
        Ok(())
    }

    /// Takes one step on all threads of rayon's pool. The result is that of [`Self::step`], bit for
    /// bit.
    ///
    /// # Errors
    /// None at present; it returns a `Result` as the GPU's step does.
    #[cfg(feature = "rayon")]
    pub fn par_step(&mut self) -> Result<(), Error> {
        use rayon::prelude::*;
        let coeffs = self.advance();
        let groups = &self.groups;
        self.tensors.par_iter_mut().zip(&groups.params).for_each(|(tensor, param)| {
            let rule = groups.groups[param.group].rule.as_ref();
            let norms = |coeffs: &[f64], tensor: &mut Tensor<T>| {
                let chunks: Vec<_> = tensor.chunks().collect();
                let norms: Vec<_> =
                    chunks.into_par_iter().map(|chunk| chunk.norms(rule, coeffs)).collect();
                norms.into_iter().fold(Norms::default(), |sum, norms| sum + norms)
            };
            let coeffs = scaled(rule, &coeffs[param.group], tensor, norms);
            let chunks: Vec<_> = tensor.chunks().collect();
            chunks.into_par_iter().for_each(|chunk| chunk.update(rule, &coeffs));
        });
        Ok(())
    }

    /// Counts the step in every group; the groups' coefficients for it.
    fn advance(&mut self) -> Vec<Vec<f64>> {
        let next = |group: &mut Group| {
            let mut coeffs = Vec::new();
            group.advance(&mut coeffs);
            coeffs
        };
        self.groups.groups.iter_mut().map(next).collect()
    }

    /// A parameter's elements.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn param(&self, name: &str) -> Result<ArrayView1<'_, T>, Error> {
        Ok(self.tensors[self.groups.find(name)?].param.view())
    }

    /// Sets a parameter's elements.
    ///
    /// # Errors
    /// The name is unknown, or the number of values is wrong.
    pub fn set_param(
        &mut self,
        name: &str,
        values: &(impl Values<T> + ?Sized),
    ) -> Result<(), Error> {
        let tensor = self.groups.find(name)?;
        assign(&self.groups, tensor, &mut self.tensors[tensor].param, values)
    }

    /// A gradient's elements, to compute into.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn grad_mut(&mut self, name: &str) -> Result<ArrayViewMut1<'_, T>, Error> {
        let tensor = self.groups.find(name)?;
        Ok(self.tensors[tensor].grad.view_mut())
    }

    /// Sets a gradient's elements.
    ///
    /// # Errors
    /// The name is unknown, or the number of values is wrong.
    pub fn set_grad(
        &mut self,
        name: &str,
        values: &(impl Values<T> + ?Sized),
    ) -> Result<(), Error> {
        let tensor = self.groups.find(name)?;
        assign(&self.groups, tensor, &mut self.tensors[tensor].grad, values)
    }

    /// A state's elements, by PyTorch's name for it.
    ///
    /// # Errors
    /// A name is unknown, or the rule's options leave the state unused.
    pub fn state(&self, name: &str, state: &str) -> Result<ArrayView1<'_, T>, Error> {
        let tensor = self.groups.find(name)?;
        let state = self.groups.find_state(tensor, state)?;
        Ok(self.tensors[tensor].states[state].view())
    }

    /// Sets a state's elements.
    ///
    /// # Errors
    /// A name is unknown, the state is unused, or the number of values is wrong.
    pub fn set_state(
        &mut self,
        name: &str,
        state: &str,
        values: &(impl Values<T> + ?Sized),
    ) -> Result<(), Error> {
        let tensor = self.groups.find(name)?;
        let state = self.groups.find_state(tensor, state)?;
        assign(&self.groups, tensor, &mut self.tensors[tensor].states[state], values)
    }

    /// The number of groups, which are counted from 0 in the order they were added.
    pub fn groups(&self) -> usize {
        self.groups.groups.len()
    }

    /// The rule of a group, with its present hyperparameters.
    ///
    /// # Errors
    /// There is no such group.
    pub fn rule(&self, group: usize) -> Result<&dyn DynRule, Error> {
        Ok(self.groups.get(group)?.rule.as_ref())
    }

    /// Steps that a group has taken.
    ///
    /// # Errors
    /// There is no such group.
    pub fn steps(&self, group: usize) -> Result<u64, Error> {
        Ok(self.groups.get(group)?.steps)
    }

    /// Changes a group's learning rate from the next step on.
    ///
    /// # Errors
    /// There is no such group, or the rate is out of range.
    pub fn set_lr(&mut self, group: usize, lr: f64) -> Result<(), Error> {
        self.groups.set_lr(group, lr)
    }

    /// Changes a group's hyperparameters from the next step on.
    ///
    /// # Errors
    /// There is no such group, the rule or its options are others, or a value is out of range.
    pub fn set_rule(
        &mut self,
        group: usize,
        rule: impl Into<Box<dyn DynRule>>,
    ) -> Result<(), Error> {
        self.groups.set_rule(group, rule.into())
    }
}

fn assign<T: Real>(
    groups: &Groups,
    tensor: usize,
    target: &mut Array1<T>,
    values: &(impl Values<T> + ?Sized),
) -> Result<(), Error> {
    let values = values.values();
    groups.check_len(tensor, values.len())?;
    target.assign(&ArrayView1::from(&*values));
    Ok(())
}

/// A tensor's coefficients: the group's, with the learning rate scaled where the rule has a trust ratio.
fn scaled<'a, T: Real>(
    rule: &dyn DynRule,
    coeffs: &'a [f64],
    tensor: &mut Tensor<T>,
    norms: impl Fn(&[f64], &mut Tensor<T>) -> Norms,
) -> Cow<'a, [f64]> {
    let mut coeffs = Cow::Borrowed(coeffs);
    if let Some(trust) = rule.trust_ratio() {
        let norms = norms(&coeffs, tensor);
        trust.apply(coeffs.to_mut(), norms);
    }
    coeffs
}

const CONTIGUOUS: &str = "one-dimensional arrays that were made here are contiguous";

/// Elements that a thread takes at once: enough to hide rayon's cost, few enough to balance.
const CHUNK: usize = 1 << 15;

impl<T: Real> Tensor<T> {
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

/// Consecutive elements of one tensor.
struct Chunk<'a, T> {
    param: &'a mut [T],
    grad: &'a [T],
    states: Vec<&'a mut [T]>,
}

impl<T: Real> Chunk<'_, T> {
    fn update(mut self, rule: &dyn DynRule, coeffs: &[f64]) {
        let mut states: Vec<&mut [T]> = self.states.iter_mut().map(|state| &mut **state).collect();
        T::run(rule, coeffs, Run { params: self.param, grads: self.grad, states: &mut states });
    }

    fn norms(&self, rule: &dyn DynRule, coeffs: &[f64]) -> Norms {
        let states: Vec<&[T]> = self.states.iter().map(|state| &**state).collect();
        T::norms(rule, coeffs, &View { params: self.param, grads: self.grad, states: &states })
    }
}
