//! The optimizer on the CPU, over ndarray's arrays: the reference, and what runs where no GPU is
//! found.

mod coded;
mod parts;
mod stored;
mod tensor;
mod transfer;

use crate::control::{Control, Measure, Scale};
use crate::error::Error;
use crate::model::{Model, ParamKey};
use crate::optimizer::{Array, Builder, Engine, Optimizer, sealed::Sealed};
use crate::rule::Real;
use ndarray::{ArrayViewMut1, CowArray, Ix1};
use std::convert::Infallible;
use stored::Stored;
use tensor::Tensor;

/// The engine on the CPU, over `f32` (as the GPU computes) or `f64` (the reference).
#[derive(Debug)]
pub struct Cpu<T> {
    tensors: Vec<Tensor<T>>,
    scale: Scale,
    /// The norm of all gradients of the last step.
    grad_norm: f64,
}

impl<T> Sealed for Cpu<T> {}

impl<T: Real> Engine for Cpu<T> {
    type Element = T;
    /// It owns all elements.
    type Place = Infallible;
    type Setup = ();
    type Open = Step;

    fn extend(
        &mut self,
        model: &Model,
        _: &Control,
        _: usize,
        _: Vec<Option<Infallible>>,
    ) -> Result<(), Error> {
        for param in self.tensors.len()..model.params.len() {
            self.tensors.push(Tensor::new(&model.params[param], model.rule_of(param)));
        }
        Ok(())
    }

    fn changed(&mut self) {}

    fn check_place(&self, _: &Model, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn write(&mut self, _: &Model, param: usize, array: Array, values: &[T]) -> Result<(), Error> {
        self.tensors[param].set(array, values);
        Ok(())
    }

    fn write_bytes(
        &mut self,
        _: &Model,
        param: usize,
        state: usize,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.tensors[param].states[state].set_bytes(bytes);
        Ok(())
    }
}

impl<T: Real> Builder<Cpu<T>> {
    /// Checks everything and allocates parameters and gradients, all zero, and states.
    ///
    /// # Errors
    /// A hyperparameter out of its range, a name given twice, or a parameter that no pattern
    /// matches.
    pub fn build(mut self) -> Result<Optimizer<Cpu<T>>, Error> {
        self.check()?;
        let scale = Scale::new(&self.control);
        self.over(Cpu { tensors: Vec::new(), scale, grad_norm: 0.0 })
    }
}

/// What a step does: the gradients' factor and limit, and each step count's coefficients, if it
/// takes part.
#[derive(Debug)]
pub struct Step {
    scaling: [f64; 2],
    coeffs: Vec<Option<Vec<f64>>>,
}

impl<T: Real> Optimizer<Cpu<T>> {
    /// Starts an optimizer; add groups, then build it.
    pub fn builder() -> Builder<Cpu<T>> {
        Builder::default()
    }

    /// Takes one step from the present gradients, on this thread.
    ///
    /// # Errors
    /// A parameter has taken 2³² − 1 steps already; see [`Self::set_steps`].
    pub fn step(&mut self) -> Result<(), Error> {
        if let Some(Step { scaling, coeffs }) = self.start()? {
            for (tensor, param) in self.engine.tensors.iter_mut().zip(&self.model.params) {
                let Some(coeffs) = &coeffs[param.count] else { continue };
                let rule = self.model.groups[param.group].rule.as_ref();
                tensor.step(rule, coeffs, scaling);
            }
        }
        self.finish();
        Ok(())
    }

    /// Takes one step on all threads of rayon's pool. The result is that of [`Self::step`], bit for
    /// bit.
    ///
    /// # Errors
    /// A parameter has taken 2³² − 1 steps already; see [`Self::set_steps`].
    #[cfg(feature = "rayon")]
    pub fn par_step(&mut self) -> Result<(), Error> {
        use rayon::prelude::*;
        if let Some(Step { scaling, coeffs }) = self.start()? {
            let model = &self.model;
            self.engine.tensors.par_iter_mut().zip(&model.params).for_each(|(tensor, param)| {
                let Some(coeffs) = &coeffs[param.count] else { return };
                let rule = model.groups[param.group].rule.as_ref();
                tensor.par_step(rule, coeffs, scaling);
            });
        }
        self.finish();
        Ok(())
    }

    /// Decides about a step and counts it; `None` to skip it.
    fn start(&mut self) -> Result<Option<Step>, Error> {
        self.model.check_steps()?;
        let Some(factor) = self.decide() else { return Ok(None) };
        self.counted(factor).map(Some)
    }

    /// Counts a step of gradients times this factor.
    fn counted(&mut self, factor: f64) -> Result<Step, Error> {
        self.model.advance(false)?;
        let coeffs = |count: usize| {
            self.model.counts[count].takes_part().then(|| {
                let mut coeffs = Vec::new();
                self.model.coeffs(count, &mut coeffs);
                coeffs
            })
        };
        let coeffs = (0..self.model.counts.len()).map(coeffs).collect();
        Ok(Step { scaling: [factor, self.control.limit()], coeffs })
    }

    /// What all gradients are multiplied by, or `None` to skip the step.
    fn decide(&mut self) -> Option<f64> {
        if !self.control.decides() {
            return Some(1.0 / self.control.divisor());
        }
        let mut measure = Measure::default();
        for (param, tensor) in self.engine.tensors.iter().enumerate() {
            if !self.model.is_frozen(param) {
                tensor.grad.values().iter().for_each(|g| measure.add(g.to_f64()));
            }
        }
        let representable = |x| T::from_f64(x).to_f64().is_finite();
        let decision = self.control.decide(&mut self.engine.scale, &measure, representable);
        self.engine.grad_norm = decision.norm;
        (!decision.skip).then_some(decision.factor)
    }

    /// Zeroes all gradients, if the step is to.
    fn finish(&mut self) {
        if self.control.zero_grad {
            self.zero_grad();
        }
    }

    /// Zeroes all gradients.
    pub fn zero_grad(&mut self) {
        self.engine.tensors.iter_mut().for_each(Tensor::zero_grad);
    }

    /// Exchanges parameters and their averages ([`Modifiers::average`](crate::Modifiers)), as for
    /// an evaluation, and at the second call back. Meanwhile steps, saving and loading are refused.
    /// Parameters without an average, and those that took no step yet, stay.
    ///
    /// # Errors
    /// No group has an average; or a parameter of 16 bits has no master, so that it could not be
    /// exchanged back.
    pub fn swap_average(&mut self) -> Result<(), Error> {
        let params = self.model.to_swap()?;
        for &param in &params {
            if let Some(average) = self.model.average_of(param) {
                self.engine.tensors[param].swap_average(average);
            }
        }
        self.model.set_swapped(params);
        Ok(())
    }

    /// The loss scale.
    ///
    /// # Errors
    /// The optimizer was built without [`Builder::grad_scaler`].
    pub fn loss_scale(&self) -> Result<f32, Error> {
        self.control.scaler().map(|_| self.engine.scale.scale)
    }

    /// Steps skipped so far.
    pub fn skipped(&self) -> u64 {
        self.engine.scale.skipped
    }

    /// Steps skipped one after another, up to the last: 0 after a good step. See
    /// [`Statistics::skipped_in_row`](crate::Statistics::skipped_in_row) for what to do about many.
    pub fn skipped_in_row(&self) -> u64 {
        self.engine.scale.skipped_in_row
    }

    /// The norm of all gradients of the last step, unscaled and before clipping; the largest
    /// magnitude where that is clipped. 0 if nothing needed it.
    pub fn grad_norm(&self) -> f64 {
        self.engine.grad_norm
    }

    /// A parameter's elements: a view, or a copy if they are stored in 16 bits.
    ///
    /// # Errors
    /// The parameter is unknown.
    pub fn param(&self, param: impl ParamKey) -> Result<CowArray<'_, T, Ix1>, Error> {
        Ok(self.engine.tensors[self.model.find(param)?].param.values())
    }

    /// A gradient's elements, to compute into.
    ///
    /// # Errors
    /// The parameter is unknown, or its gradient is stored in 16 bits.
    pub fn grad_mut(&mut self, param: impl ParamKey) -> Result<ArrayViewMut1<'_, T>, Error> {
        let param = self.model.find(param)?;
        match &mut self.engine.tensors[param].grad {
            Stored::Plain(values) => Ok(values.view_mut()),
            Stored::Coded(codec, ..) => Err(Error::parameter(
                self.model.name(param),
                "a gradient in f32, to be computed into",
                format!("one in {codec:?}"),
                "Set it by `set_grad`",
            )),
        }
    }

    /// A state's elements, by PyTorch's name for it: a view, or a copy if they are not stored in
    /// f32.
    ///
    /// # Errors
    /// A name is unknown, or the rule's options leave the state unused.
    pub fn state(&self, param: impl ParamKey, state: &str) -> Result<CowArray<'_, T, Ix1>, Error> {
        let param = self.model.find(param)?;
        let state = self.model.find_state(param, state)?;
        Ok(self.engine.tensors[param].states[state].values())
    }

    /// A state's elements as they are stored; as [`Optimizer::set_state_bytes`] takes them.
    ///
    /// # Errors
    /// As [`Self::state`].
    pub fn state_bytes(&self, param: impl ParamKey, state: &str) -> Result<Vec<u8>, Error> {
        let param = self.model.find(param)?;
        let state = self.model.find_state(param, state)?;
        Ok(self.engine.tensors[param].states[state].bytes())
    }
}
