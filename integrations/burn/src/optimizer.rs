//! The optimizer of a module.

use crate::collect::{Batch, Collector};
use crate::config::FusedConfig;
use crate::device;
use crate::engine::Engine;
use crate::error::{Error, Refused};
use crate::seam;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradAdaptor, GradientsParams, MultiGradientsParams};
use burn::tensor::Device;

/// Updates the parameters of a module, all of a device's in a few dispatches: takes the place of
/// `burn::optim::ModuleOptimizer`.
#[derive(Debug)]
pub struct FusedOptimizer {
    config: FusedConfig,
    engines: Vec<(Device, Engine)>,
}

impl FusedOptimizer {
    pub(crate) fn new(config: FusedConfig) -> Self {
        Self { config, engines: Vec::new() }
    }

    /// Updates the module's parameters by their gradients.
    ///
    /// # Panics
    /// If a parameter does not fit; [`Self::try_step`] returns the error instead.
    pub fn step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: GradientsParams,
    ) -> M {
        self.try_step(lr, module, grads).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// As [`Self::step`], with gradients that are summed from several devices.
    ///
    /// # Panics
    /// As [`Self::step`].
    pub fn step_multi<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: MultiGradientsParams,
    ) -> M {
        self.try_step(lr, module, grads).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// As [`Self::step`] and [`Self::step_multi`].
    ///
    /// # Errors
    /// A parameter is not f32 or not on a device that [`crate::init_device`] made or [`crate::share_device`]
    /// announced, a gradient has another shape, a hyperparameter is out of its range, or memory is full. The module
    /// comes back as it was.
    pub fn try_step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: impl Into<GradAdaptor>,
    ) -> Result<M, Refused<M>> {
        let mut collector = Collector::new(&self.config, lr.into(), grads.into());
        let module = module.map(&mut collector);
        match collector.finish().and_then(|batches| self.update(batches)) {
            Ok(()) => Ok(module),
            Err(error) => Err(Refused { module, error }),
        }
    }

    fn update(&mut self, batches: Vec<Batch>) -> Result<(), Error> {
        for Batch { device, jobs, tensors } in batches {
            let places = seam::places(tensors)?;
            self.engine(device, &jobs[0].path)?.step(&jobs, &places)?;
        }
        Ok(())
    }

    /// The engine of a device.
    fn engine(&mut self, device: Device, parameter: &str) -> Result<&mut Engine, Error> {
        let known = self.engines.iter().position(|(other, _)| *other == device);
        let index = match known {
            Some(index) => index,
            None => {
                let handles = device::handles(&device, parameter)?;
                self.engines.push((device, Engine::new(handles, self.config.clone())));
                self.engines.len() - 1
            }
        };
        Ok(&mut self.engines[index].1)
    }
}
