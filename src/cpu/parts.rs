//! Taking a step in parts on the CPU.

use crate::cpu::tensor::Tensor;
use crate::cpu::{Cpu, Step};
use crate::error::Error;
use crate::model::ParamKey;
use crate::open_step::OpenStep;
use crate::optimizer::Optimizer;
use crate::rule::{DynRule, Real};
use ndarray::ArrayViewMut1;

impl<T: Real> Optimizer<Cpu<T>> {
    /// Begins a step that is taken in parts, each as soon as its gradients are there.
    ///
    /// ```
    /// use wgpu_optim::{CpuOptimizer, SGD};
    /// let params = [("w", 2), ("b", 1)];
    /// let mut optimizer = CpuOptimizer::<f32>::builder().group(SGD::default(), params).build()?;
    /// let mut step = optimizer.begin_step()?;
    /// step.set_grad("b", &[0.5])?;
    /// step.params(["b"])?;
    /// step.set_grad("w", &[1.0, -1.0])?;
    /// step.params(["w"])?;
    /// step.end()?;
    /// # drop(step);
    /// # assert_eq!(optimizer.steps("w")?, 1);
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    ///
    /// # Errors
    /// The optimizer was built with something that must know all gradients first (clipping by a
    /// norm, a scaler, skipping, statistics), or a parameter has taken 2³² − 1 steps already. No
    /// step is counted then.
    pub fn begin_step(&mut self) -> Result<OpenStep<'_, Cpu<T>>, Error> {
        OpenStep::begin(self, |optimizer| optimizer.counted(1.0 / optimizer.control.divisor()))
    }
}

impl<T: Real> OpenStep<'_, Cpu<T>> {
    /// Takes the step of these parameters, on this thread.
    ///
    /// # Errors
    /// A parameter is unknown, named twice, left out or stepped already. Nothing has changed then.
    pub fn params(&mut self, params: impl IntoIterator<Item = impl ParamKey>) -> Result<(), Error> {
        self.each(params, Tensor::step)
    }

    /// The same with all threads of rayon's pool for each parameter, with the same bits.
    ///
    /// # Errors
    /// As [`Self::params`].
    #[cfg(feature = "rayon")]
    pub fn par_params(
        &mut self,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<(), Error> {
        self.each(params, Tensor::par_step)
    }

    /// A gradient's elements, to compute into before its parameter is stepped.
    ///
    /// # Errors
    /// As [`Optimizer::grad_mut`].
    pub fn grad_mut(&mut self, param: impl ParamKey) -> Result<ArrayViewMut1<'_, T>, Error> {
        self.optimizer.grad_mut(param)
    }

    fn each(
        &mut self,
        params: impl IntoIterator<Item = impl ParamKey>,
        step: impl Fn(&mut Tensor<T>, &dyn DynRule, &[f64], [f64; 2]),
    ) -> Result<(), Error> {
        let params = self.turn_of(params)?;
        let Optimizer { model, control, engine, .. } = &mut *self.optimizer;
        let Step { scaling, coeffs } = &self.open;
        for &param in &params {
            let tensor = &mut engine.tensors[param];
            if let Some(coeffs) = &coeffs[model.params[param].count] {
                step(tensor, model.rule_of(param), coeffs, *scaling);
            }
            if control.zero_grad {
                tensor.zero_grad();
            }
        }
        self.stepped(&params);
        Ok(())
    }
}
