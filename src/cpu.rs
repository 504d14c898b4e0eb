//! The reference driver on ndarray: serial, or parallel where no GPU is found.

use crate::control::{Control, Measure, Scale};
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::groups::Groups;
use crate::pattern::{Sorted, Unmatched};
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
    control: Control,
    scale: Scale,
    /// The norm of all gradients of the last step.
    grad_norm: f64,
    tensors: Vec<Tensor<T>>,
}

/// A parameter's arrays.
#[derive(Debug)]
struct Tensor<T> {
    param: Array1<T>,
    grad: Array1<T>,
    states: Vec<Array1<T>>,
}

/// A group's rule, its learning rate's multiplier, and its parameters' names and numbers of elements.
type NewGroup = (Box<dyn DynRule>, f64, Vec<(String, usize)>);

/// Collects groups for a [`CpuOptimizer`], and what it does around its steps.
#[derive(Debug)]
#[must_use = "an optimizer is made by `build`"]
pub struct CpuBuilder<T> {
    groups: Vec<NewGroup>,
    control: Control,
    unmatched: Vec<Unmatched>,
    element: PhantomData<T>,
}

impl<T: Real> CpuBuilder<T> {
    /// Adds parameters, by name and number of elements, that share a rule's hyperparameters.
    pub fn group<N: Into<String>>(
        mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = (N, usize)>,
    ) -> Self {
        let params = params.into_iter().map(|(name, len)| (name.into(), len)).collect();
        self.groups.push((rule.into(), 1.0, params));
        self
    }

    /// Adds a group for each of these rules, with the parameters whose names match its pattern, in which `*`
    /// stands for any characters and `?` for one. A parameter goes to the first that matches; one that none
    /// matches is refused by [`Self::build`].
    pub fn groups_by_name<N: Into<String>>(
        mut self,
        rules: impl IntoIterator<Item = (&'static str, impl Into<Box<dyn DynRule>>)>,
        params: impl IntoIterator<Item = (N, usize)>,
    ) -> Self {
        let (patterns, rules): (Vec<_>, Vec<_>) = rules.into_iter().unzip();
        let params = params.into_iter().map(|(name, len)| (name.into(), len));
        let members = Sorted::new(&patterns, params, |(name, _): &(String, usize)| name);
        self.unmatched.extend(members.unmatched);
        for (rule, params) in rules.into_iter().zip(members.groups) {
            self.groups.push((rule.into(), 1.0, params));
        }
        self
    }

    crate::twins::builder_methods!();

    /// Checks everything and allocates parameters and gradients, all zero, and states.
    ///
    /// # Errors
    /// A hyperparameter out of its range, or a name given twice.
    pub fn build(self) -> Result<CpuOptimizer<T>, Error> {
        self.control.validate()?;
        self.unmatched.into_iter().try_for_each(Unmatched::refuse)?;
        let mut optimizer = CpuOptimizer {
            groups: Groups::default(),
            scale: Scale::new(&self.control),
            control: self.control,
            grad_norm: 0.0,
            tensors: Vec::new(),
        };
        optimizer.extend(self.groups)?;
        Ok(optimizer)
    }
}

impl<T: Real> CpuOptimizer<T> {
    /// Starts an optimizer; add groups, then build it.
    pub fn builder() -> CpuBuilder<T> {
        let (groups, control, unmatched) = Default::default();
        CpuBuilder { groups, control, unmatched, element: PhantomData }
    }

    /// Adds parameters that share a rule's hyperparameters; their group's index. Everything else stays as
    /// it is, states and step counts included.
    ///
    /// # Errors
    /// A hyperparameter out of its range, or a name given twice. Nothing has changed then.
    pub fn add_group<N: Into<String>>(
        &mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = (N, usize)>,
    ) -> Result<usize, Error> {
        let params = params.into_iter().map(|(name, len)| (name.into(), len)).collect();
        self.extend([(rule.into(), 1.0, params)])?;
        Ok(self.groups.groups.len() - 1)
    }

    fn extend(&mut self, new: impl IntoIterator<Item = NewGroup>) -> Result<(), Error> {
        let (groups, tensors) = (self.groups.groups.len(), self.tensors.len());
        let added = new.into_iter().try_for_each(|group| self.add(group));
        if added.is_err() {
            self.groups.truncate(groups);
            self.tensors.truncate(tensors);
        }
        added
    }

    fn add(&mut self, (rule, lr_multiplier, params): NewGroup) -> Result<(), Error> {
        let states = rule.states();
        self.groups.add_group(rule, lr_multiplier)?;
        for (name, len) in params {
            self.groups.add_param(name, len)?;
            let state = |value| Array1::from_elem(len, T::from_f64(value));
            self.tensors.push(Tensor {
                param: Array1::from_elem(len, T::default()),
                grad: Array1::from_elem(len, T::default()),
                states: states.iter().map(|s| state(s.value)).collect(),
            });
        }
        Ok(())
    }

    /// Takes one step from the present gradients, on this thread.
    ///
    /// # Errors
    /// None at present; it returns a `Result` as the GPU's step does.
    pub fn step(&mut self) -> Result<(), Error> {
        if let Some(factor) = self.decide() {
            let coeffs = self.advance(factor);
            for (tensor, param) in self.tensors.iter_mut().zip(&self.groups.params) {
                let Some(coeffs) = &coeffs[param.clock] else { continue };
                let rule = self.groups.groups[param.group].rule.as_ref();
                let norms = |coeffs: &[f64], tensor: &mut Tensor<T>| {
                    let norms = tensor.chunks().map(|chunk| chunk.norms(rule, coeffs));
                    norms.fold(Norms::default(), |sum, norms| sum + norms)
                };
                let coeffs = scaled(rule, coeffs, tensor, norms);
                tensor.chunks().for_each(|chunk| chunk.update(rule, &coeffs));
            }
        }
        self.leave_grads();
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
        if let Some(factor) = self.decide() {
            let coeffs = self.advance(factor);
            let groups = &self.groups;
            self.tensors.par_iter_mut().zip(&groups.params).for_each(|(tensor, param)| {
                let Some(coeffs) = &coeffs[param.clock] else { return };
                let rule = groups.groups[param.group].rule.as_ref();
                let norms = |coeffs: &[f64], tensor: &mut Tensor<T>| {
                    let chunks: Vec<_> = tensor.chunks().collect();
                    let norms: Vec<_> =
                        chunks.into_par_iter().map(|chunk| chunk.norms(rule, coeffs)).collect();
                    norms.into_iter().fold(Norms::default(), |sum, norms| sum + norms)
                };
                let coeffs = scaled(rule, coeffs, tensor, norms);
                let chunks: Vec<_> = tensor.chunks().collect();
                chunks.into_par_iter().for_each(|chunk| chunk.update(rule, &coeffs));
            });
        }
        self.leave_grads();
        Ok(())
    }

    /// What all gradients are multiplied by, or `None` to skip the step.
    fn decide(&mut self) -> Option<f64> {
        if !self.control.decides() {
            return Some(1.0 / self.control.divisor());
        }
        let mut measure = Measure::default();
        for (param, tensor) in self.tensors.iter().enumerate() {
            if !self.groups.is_frozen(param) {
                tensor.grad.iter().for_each(|g| measure.add(g.to_f64()));
            }
        }
        let representable = |x| T::from_f64(x).to_f64().is_finite();
        let decision = self.control.decide(&mut self.scale, &measure, representable);
        self.grad_norm = decision.norm;
        (!decision.skip).then_some(decision.factor)
    }

    /// Counts the step; the coefficients for it, of each clock that takes part.
    fn advance(&mut self, factor: f64) -> Vec<Option<Vec<f64>>> {
        self.groups.advance();
        let coeffs = |clock: usize| {
            self.groups.clocks[clock].takes_part().then(|| {
                let mut coeffs = Vec::new();
                self.groups.coeffs(clock, &mut coeffs);
                self.control.shape(&mut coeffs, factor);
                coeffs
            })
        };
        (0..self.groups.clocks.len()).map(coeffs).collect()
    }

    /// Zeroes the gradients that the step read, if it shall.
    fn leave_grads(&mut self) {
        if self.control.zero_grad {
            for (param, tensor) in self.tensors.iter_mut().enumerate() {
                if !self.groups.is_frozen(param) {
                    tensor.grad.fill(T::default());
                }
            }
        }
    }

    /// Zeroes all gradients.
    pub fn zero_grad(&mut self) {
        self.tensors.iter_mut().for_each(|tensor| tensor.grad.fill(T::default()));
    }

    /// The loss scale.
    ///
    /// # Errors
    /// The optimizer was built without [`CpuBuilder::grad_scaler`].
    pub fn loss_scale(&self) -> Result<f32, Error> {
        self.control.scaler().map(|_| self.scale.scale)
    }

    /// Steps skipped so far.
    pub fn skipped(&self) -> u64 {
        self.scale.skipped
    }

    /// The norm of all gradients of the last step, unscaled and before clipping; the largest magnitude
    /// where that is clipped. 0 if nothing needed it.
    pub fn grad_norm(&self) -> f64 {
        self.grad_norm
    }

    /// Freezes parameters, or thaws them. Steps leave a frozen parameter alone: its values, states and step
    /// count stay, and its gradient counts in no norm.
    ///
    /// # Errors
    /// A name is unknown. Nothing has changed then.
    pub fn set_frozen<'n>(
        &mut self,
        names: impl IntoIterator<Item = &'n str>,
        frozen: bool,
    ) -> Result<(), Error> {
        self.groups.set_frozen(names, frozen).map(|_| ())
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

    /// Steps that a parameter has taken; skipped steps and those while it was frozen do not count.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn steps(&self, name: &str) -> Result<u64, Error> {
        let param = &self.groups.params[self.groups.find(name)?];
        Ok(self.groups.clocks[param.clock].steps)
    }

    /// Sets the number of steps that a parameter has behind it, as when a run is resumed.
    ///
    /// # Errors
    /// The name is unknown.
    pub fn set_steps(&mut self, name: &str, steps: u64) -> Result<(), Error> {
        let param = self.groups.find(name)?;
        self.groups.set_steps(param, steps);
        Ok(())
    }

    crate::twins::optimizer_methods!();
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
