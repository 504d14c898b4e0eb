//! The optimizer of a module.

use crate::collect::{Batch, Collector};
use crate::config::FusedConfig;
use crate::device;
use crate::engine::Engine;
use crate::error::{Error, Refused};
use crate::state::{self, State};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{Module, ParamId};
use burn::optim::{GradAdaptor, GradientsParams, MultiGradientsParams, OptimizerRecord};
use burn::tensor::{Bytes, Device};
use std::collections::BTreeMap;
use std::path::Path;

/// Updates the parameters of a module, all those of a device in a few dispatches. It replaces
/// `burn::optim::ModuleOptimizer`, and has its methods.
///
/// A parameter without a gradient stays as it is, and so do its states and its number of steps.
/// Of a parameter that a module holds twice, the first is updated, as in Burn. A parameter whose
/// value is held elsewhere (a clone of the model, a checkpoint) moves into memory of its own before
/// it is updated, and the others keep the old value.
#[derive(Debug)]
pub struct FusedOptimizer {
    config: FusedConfig,
    engines: Vec<(Device, Engine)>,
    /// Loaded states of parameters that no step has seen yet.
    loaded: BTreeMap<ParamId, State>,
}

impl FusedConfig {
    /// The optimizer.
    #[must_use]
    pub fn init(&self) -> FusedOptimizer {
        FusedOptimizer::new(self.clone())
    }
}

impl FusedOptimizer {
    fn new(config: FusedConfig) -> Self {
        Self { config, engines: Vec::new(), loaded: BTreeMap::new() }
    }

    /// Updates the module's parameters by their gradients. The learning rate is a number, or what
    /// one of Burn's schedulers for groups gives.
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

    /// As [`Self::step`], with gradients that are summed over several devices.
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

    /// As [`Self::step`] and [`Self::step_multi`]. Nothing waits for the device.
    ///
    /// # Errors
    /// A parameter is not f32 or not on a device that [`crate::init_device`] made or
    /// [`crate::share_device`] announced, a gradient has another shape, a hyperparameter is out of
    /// its range, or memory is full. The module is returned as it was.
    pub fn try_step<M: Module>(
        &mut self,
        lr: impl Into<ModuleLearningRate>,
        module: M,
        grads: impl Into<GradAdaptor>,
    ) -> Result<M, Refused<M>> {
        let is_new = |id| !self.engines.iter().any(|(_, engine)| engine.knows(id));
        let mut collector = Collector::new(&self.config, lr.into(), grads.into(), &is_new);
        let module = module.map(&mut collector);
        match collector.finish().and_then(|batches| self.update(batches)) {
            Ok(()) => Ok(module),
            Err(error) => Err(Refused { module, error }),
        }
    }

    fn update(&mut self, batches: Vec<Batch>) -> Result<(), Error> {
        for Batch { device, jobs, search } in batches {
            let engine = self.engine(device, &jobs[0].path)?;
            for job in &jobs {
                self.bring(engine, job.id)?;
            }
            let memory = search.finish()?;
            self.engines[engine].1.step(&jobs, &memory)?;
        }
        Ok(())
    }

    /// The engine of a device.
    fn engine(&mut self, device: Device, parameter: &str) -> Result<usize, Error> {
        let known = self.engines.iter().position(|(other, _)| *other == device);
        match known {
            Some(index) => Ok(index),
            None => {
                let handles = device::handles(&device, parameter)?;
                self.engines.push((device, Engine::new(handles, self.config.clone())));
                Ok(self.engines.len() - 1)
            }
        }
    }

    /// Brings a parameter's state to the engine of its device: from a record, or from the device
    /// where the parameter was before.
    fn bring(&mut self, engine: usize, id: ParamId) -> Result<(), Error> {
        let mut state = self.loaded.remove(&id);
        for (index, (_, other)) in self.engines.iter_mut().enumerate() {
            if index != engine && other.has(id) {
                state = other.take(id)?.or(state);
            }
        }
        if let Some(state) = state {
            self.engines[engine].1.keep(id, state);
        }
        Ok(())
    }

    /// Dispatches that the last step took on all devices. Burn keeps many tensors in one buffer,
    /// and those share dispatches.
    ///
    /// # Errors
    /// A device was lost.
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        self.engines.iter_mut().map(|(_, engine)| engine.dispatches()).sum()
    }

    /// All states, as Burn's record. Waits for the device.
    ///
    /// # Errors
    /// The device was lost.
    pub fn try_to_record(&self) -> Result<OptimizerRecord, Error> {
        let mut states = self.loaded.clone();
        for (_, engine) in &self.engines {
            states.extend(engine.states()?);
        }
        state::to_record(states.into_iter().collect())
    }

    /// As [`Self::try_to_record`].
    ///
    /// # Panics
    /// The device was lost.
    #[must_use]
    pub fn to_record(&self) -> OptimizerRecord {
        self.try_to_record().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Takes all states from a record. Each goes to its parameter, by the parameter's id, at the
    /// parameter's next step.
    ///
    /// # Errors
    /// The record was made by an optimizer of Burn's own.
    pub fn try_load_record(self, record: OptimizerRecord) -> Result<Self, Error> {
        let loaded = state::from_record(record)?;
        Ok(Self { config: self.config, engines: Vec::new(), loaded })
    }

    /// As [`Self::try_load_record`].
    ///
    /// # Panics
    /// The record was made by an optimizer of Burn's own.
    #[must_use]
    pub fn load_record(self, record: OptimizerRecord) -> Self {
        self.try_load_record(record).unwrap_or_else(|error| panic!("{error}"))
    }

    /// All states, as bytes in Burn's format.
    ///
    /// # Errors
    /// The device was lost.
    pub fn into_bytes(&self) -> Result<Bytes, Error> {
        self.try_to_record()?.into_bytes().map_err(|error| Error::Record(error.to_string()))
    }

    /// Takes all states from bytes.
    ///
    /// # Errors
    /// They are not a record of an optimizer of this crate.
    pub fn from_bytes(self, bytes: Bytes) -> Result<Self, Error> {
        let record = OptimizerRecord::from_bytes(bytes);
        self.try_load_record(record.map_err(|error| Error::Record(error.to_string()))?)
    }

    /// Saves all states to a file in Burn's format.
    ///
    /// # Errors
    /// The device was lost, or the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.try_to_record()?.save(path).map_err(|error| Error::Record(error.to_string()))
    }

    /// Takes all states from a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a record of an optimizer of this crate.
    pub fn load(self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let record = OptimizerRecord::load(path);
        self.try_load_record(record.map_err(|error| Error::Record(error.to_string()))?)
    }
}

impl Clone for FusedOptimizer {
    /// Another optimizer with the same states. Waits for the device.
    ///
    /// # Panics
    /// The device was lost.
    fn clone(&self) -> Self {
        Self::new(self.config.clone()).load_record(self.to_record())
    }
}
