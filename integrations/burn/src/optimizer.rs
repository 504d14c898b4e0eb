//! The optimizer of a module.

use crate::collect::{Batch, Collector, Job};
use crate::config::FusedConfig;
use crate::device;
use crate::engine::Engine;
use crate::error::{Error, Refused};
use crate::loaded::Loaded;
use crate::{checkpoint, record};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradAdaptor, GradientsParams, MultiGradientsParams, OptimizerRecord};
use burn::tensor::{Bytes, Device};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use wgpu_optim::{CpuOptimizer, DynRule};

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
    /// Only reading states back locks them: the core asks its device by `&mut`, Burn's API by `&`.
    engines: Mutex<Engines>,
    /// States of parameters that no step has seen yet.
    loaded: Loaded,
}

type Engines = Vec<(Device, Engine)>;

impl FusedConfig {
    /// The optimizer.
    #[must_use]
    pub fn init(&self) -> FusedOptimizer {
        FusedOptimizer::new(self.clone())
    }
}

impl FusedOptimizer {
    fn new(config: FusedConfig) -> Self {
        Self { config, engines: Mutex::default(), loaded: Loaded::default() }
    }

    fn engines(&mut self) -> &mut Engines {
        self.engines.get_mut().unwrap_or_else(PoisonError::into_inner)
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
        let engines = self.engines.get_mut().unwrap_or_else(PoisonError::into_inner);
        let is_new = |id| !engines.iter().any(|(_, engine)| engine.knows(id));
        let mut collector = Collector::new(&self.config, lr.into(), grads.into(), &is_new);
        let module = module.map(&mut collector);
        match collector.finish().and_then(|batches| self.update(batches)) {
            Ok(()) => Ok(module),
            Err(error) => Err(Refused { module, error }),
        }
    }

    fn update(&mut self, batches: Vec<Batch>) -> Result<(), Error> {
        self.check(&batches)?;
        for Batch { device, jobs, search } in batches {
            let engine = self.engine(device, &jobs[0].path)?;
            for job in &jobs {
                self.bring(engine, job)?;
            }
            let memory = search.finish()?;
            self.engines()[engine].1.step(&jobs, &memory)?;
        }
        Ok(())
    }

    /// Refuses parameters whose states on the host are not theirs.
    fn check(&mut self, batches: &[Batch]) -> Result<(), Error> {
        let jobs = || batches.iter().flat_map(|batch| &batch.jobs);
        self.loaded.check_found(jobs())?;
        let engines = self.engines.get_mut().unwrap_or_else(PoisonError::into_inner);
        for job in jobs() {
            let pending = engines.iter().find_map(|(_, engine)| engine.pending(job.id));
            if let Some(state) = pending.or_else(|| self.loaded.get(job)) {
                let rule = &*self.config.groups[job.group].rule;
                state.check_fits(&job.shape.to_vec(), job.group, rule)?;
            }
        }
        Ok(())
    }

    /// The engine of a device.
    fn engine(&mut self, device: Device, parameter: &str) -> Result<usize, Error> {
        let config = &self.config;
        let engines = self.engines.get_mut().unwrap_or_else(PoisonError::into_inner);
        let known = engines.iter().position(|(other, _)| *other == device);
        match known {
            Some(index) => Ok(index),
            None => {
                let handles = device::handles(&device, parameter)?;
                engines.push((device, Engine::new(handles, config.clone())));
                Ok(engines.len() - 1)
            }
        }
    }

    /// Brings a parameter's state to the engine of its device: from what was loaded, or from the
    /// device where the parameter was before.
    fn bring(&mut self, engine: usize, job: &Job) -> Result<(), Error> {
        let mut state = self.loaded.take(job);
        let engines = self.engines();
        for (index, (_, other)) in engines.iter_mut().enumerate() {
            if index != engine && other.has(job.id) {
                state = other.take(job.id)?.or(state);
            }
        }
        if let Some(state) = state {
            engines[engine].1.keep(job.id, state);
        }
        Ok(())
    }

    /// Dispatches that the last step took on all devices. Burn keeps many tensors in one buffer,
    /// and those share dispatches.
    ///
    /// # Errors
    /// A device was lost.
    pub fn dispatches(&mut self) -> Result<usize, Error> {
        self.engines().iter_mut().map(|(_, engine)| engine.dispatches()).sum()
    }

    /// Changes a group's hyperparameters from the next step on, as a one-cycle schedule does and as
    /// one does who loads and then goes on with others. Groups are counted in the order in which
    /// the config got them, from 0 for [`FusedConfig::new`]'s. The rule's `lr` is not used.
    ///
    /// # Errors
    /// There is no such group, the rule or its options are others, or a value is out of range.
    /// Nothing has changed then.
    pub fn set_rule(
        &mut self,
        group: usize,
        rule: impl Into<Box<dyn DynRule>>,
    ) -> Result<(), Error> {
        let mut rule = rule.into();
        let engines = self.engines.get_mut().unwrap_or_else(PoisonError::into_inner);
        let own = self.config.checked(group, &mut rule)?;
        for lr in engines.iter().flat_map(|(_, engine)| engine.lrs(group)) {
            rule.set_lr(lr);
            rule.validate()?;
        }
        *own = rule.boxed();
        engines.iter_mut().try_for_each(|(_, engine)| engine.set_rule(group, &*rule))
    }

    /// All states: of the devices, and those that wait for their parameters.
    fn states(&self) -> Result<Loaded, Error> {
        let mut states = self.loaded.clone();
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, engine) in engines.iter_mut() {
            states.by_id.extend(engine.states()?);
        }
        Ok(states)
    }

    /// The optimizer with these states and this config, and no others.
    fn replace(&mut self, config: FusedConfig, loaded: Loaded) {
        *self = Self { loaded, ..Self::new(config) };
    }

    /// The paths of parameters whose states were loaded and that no step has updated since. After a
    /// step of the whole model these are parameters that the model no longer has, or calls
    /// otherwise.
    #[must_use]
    pub fn waiting(&self) -> Vec<&str> {
        let mut paths: Vec<_> = self.loaded.iter().map(|state| state.path.as_str()).collect();
        paths.sort_unstable();
        paths
    }

    /// Everything that decides how the run goes on, in the format of
    /// [`wgpu_optim::checkpoint`], by the parameters' paths in the module: states, step counts,
    /// rules with their hyperparameters, clipping. Waits for the device, and holds all states in
    /// the host's memory. The parameters are not in it: Burn's own records save them.
    ///
    /// # Errors
    /// The device was lost; two parameters have the same path, as those of two modules have.
    pub fn checkpoint_bytes(&self) -> Result<Vec<u8>, Error> {
        Ok(self.on_host()?.save().without_params().bytes()?)
    }

    /// The core's optimizer on the host with all states by path.
    fn on_host(&self) -> Result<CpuOptimizer<f32>, Error> {
        let Loaded { by_id, by_path, .. } = self.states()?;
        let mut named = BTreeMap::new();
        for state in by_id.into_values().chain(by_path.into_values()) {
            if let Some(twice) = named.insert(state.path.clone(), state) {
                return Err(Error::Parameter {
                    parameter: twice.path,
                    expected: "paths that tell parameters apart".to_owned(),
                    found: "two parameters of this path".to_owned(),
                    remedy: "Make an optimizer for each module, or save by id: `to_record`"
                        .to_owned(),
                });
            }
        }
        checkpoint::with_states(&self.config, &named)
    }

    /// Writes [`Self::checkpoint_bytes`] to a file, whole or not at all.
    ///
    /// # Errors
    /// As there; or the file cannot be written, and one that is there is as it was.
    pub fn save_checkpoint(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.on_host()?.save().without_params().file(path)?;
        Ok(())
    }

    /// Takes everything from a checkpoint, as [`Self::save_checkpoint`] or the core's
    /// [`save`](wgpu_optim::Optimizer::save) wrote it; the hyperparameters too. Each state goes to
    /// the parameter of its path at the parameter's next step, which refuses one that does not fit.
    ///
    /// # Errors
    /// The bytes are no checkpoint or damaged, or of another rule, other options or settings.
    /// Nothing has changed then.
    pub fn load_checkpoint_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let group_of = |path: &str| self.config.group_of_path(path);
        let (config, by_path) = checkpoint::read(&self.config, bytes, group_of)?;
        self.replace(config, Loaded { by_path, ..Loaded::default() });
        Ok(())
    }

    /// As [`Self::load_checkpoint_bytes`], from a file.
    ///
    /// # Errors
    /// As there; or the file cannot be read.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<(), Error> {
        let bytes = checkpoint::read_file(path.as_ref())?;
        self.load_checkpoint_bytes(&bytes)
    }

    /// All states with rules and hyperparameters, as Burn's record. Waits for the device.
    ///
    /// # Errors
    /// The device was lost; or states were loaded by path, and no step has told their ids yet.
    pub fn try_to_record(&self) -> Result<OptimizerRecord, Error> {
        let Loaded { by_id, by_path, .. } = self.states()?;
        if let Some(path) = by_path.into_keys().next() {
            return Err(Error::Parameter {
                parameter: path,
                expected: "an id, by which records keep states".to_owned(),
                found: "a state that was loaded by path, and no step of its parameter since"
                    .to_owned(),
                remedy: "Take a step first, or save by path: `save_checkpoint`".to_owned(),
            });
        }
        record::write(&self.config, by_id)
    }

    /// As [`Self::try_to_record`].
    ///
    /// # Panics
    /// The device was lost.
    #[must_use]
    pub fn to_record(&self) -> OptimizerRecord {
        self.try_to_record().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Takes all states from a record, and the hyperparameters that it has. Each state goes to its
    /// parameter, by the parameter's id, at the parameter's next step, which refuses one that does
    /// not fit.
    ///
    /// A record of Burn's own Adam, AdamW, AdaGrad, RMSprop, SGD, Lion or LAMB is taken over, with
    /// the config's hyperparameters.
    ///
    /// # Errors
    /// The record is of another rule or other options, or of an optimizer that has none here.
    pub fn try_load_record(mut self, record: OptimizerRecord) -> Result<Self, Error> {
        let (config, by_id) = record::read(&self.config, record)?;
        self.replace(config, Loaded { by_id, ..Loaded::default() });
        Ok(self)
    }

    /// As [`Self::try_load_record`].
    ///
    /// # Panics
    /// As it has errors.
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
    /// As [`Self::try_load_record`]; or they are no record.
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
    /// As [`Self::try_load_record`]; or the file cannot be read, or is no record.
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
        let loaded = self.states().unwrap_or_else(|error| panic!("{error}"));
        // It may step any model, as the other may.
        let loaded = Loaded { is_found: true, ..loaded };
        Self { loaded, ..Self::new(self.config.clone()) }
    }
}
