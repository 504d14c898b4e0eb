//! One walk over a module: which parameters this step updates, and the search for their memory.

use crate::config::FusedConfig;
use crate::error::Error;
use crate::memory::{self, Name, Search};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{ModuleMapper, Param, ParamId};
use burn::optim::GradAdaptor;
use burn::tensor::{DType, Device, GradientCheckpointingStrategy, Shape, Tensor};

/// The most elements of a parameter that is copied, once, into a buffer that it shares with others.
/// A module's initializers give each parameter a buffer of its own, and so a dispatch of its own,
/// which costs little only in proportion to larger parameters.
const SMALL: usize = 1 << 18;

/// A parameter that this step updates.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub id: ParamId,
    /// Its path in the module.
    pub path: String,
    pub shape: Shape,
    /// Its group in the config.
    pub group: usize,
    pub lr: f64,
}

impl Job {
    pub fn len(&self) -> usize {
        self.shape.num_elements()
    }
}

/// The parameters on one device, and the search for their memory.
pub(crate) struct Batch {
    pub device: Device,
    pub jobs: Vec<Job>,
    pub search: Search,
}

/// Walks over a module. Parameters keep their values; those with a gradient get memory of their own
/// if they share it.
pub(crate) struct Collector<'a> {
    config: &'a FusedConfig,
    lr: ModuleLearningRate,
    grads: GradAdaptor,
    /// Whether no step has seen a parameter yet.
    is_new: &'a dyn Fn(ParamId) -> bool,
    /// The path of the module that the walk is in.
    path: String,
    /// The lengths of the paths of the modules around it.
    ends: Vec<usize>,
    batches: Vec<Batch>,
    error: Option<Error>,
}

impl<'a> Collector<'a> {
    pub fn new(
        config: &'a FusedConfig,
        lr: ModuleLearningRate,
        grads: GradAdaptor,
        is_new: &'a dyn Fn(ParamId) -> bool,
    ) -> Self {
        Self {
            config,
            lr,
            grads,
            is_new,
            path: String::new(),
            ends: Vec::new(),
            batches: Vec::new(),
            error: None,
        }
    }

    /// What was found, by device, or the first thing that does not fit.
    pub fn finish(self) -> Result<Vec<Batch>, Error> {
        self.error.map_or(Ok(self.batches), Err)
    }

    /// Notes a parameter with its gradient and gives it back, in memory of its own.
    fn collect<const D: usize>(
        &mut self,
        id: ParamId,
        device: Device,
        param: Tensor<D>,
        grad: Tensor<D>,
    ) -> Tensor<D> {
        if let Err(error) = check(&self.path, &param, &grad) {
            self.error.get_or_insert(error);
            return param;
        }
        let context = Context::of(&param);
        let job = self.job(id, param.shape());
        // Burn puts the copy into a buffer with others, with which it can share a dispatch.
        let moves = job.len() <= SMALL && (self.is_new)(id);
        let (param, name) = memory::unshared(param.inner(), moves);
        if job.len() > 0
            && let Err(error) = self.note(job, device, name, grad.inner())
        {
            self.error.get_or_insert(error);
        }
        context.restore(param, id)
    }

    fn job(&self, id: ParamId, shape: Shape) -> Job {
        let path = self.path.clone();
        let group = self.config.group_of(id, &path);
        let lr = self.lr.lr_from_param(id, Some(&path));
        Job { id, path, shape, group, lr }
    }

    fn note<const D: usize>(
        &mut self,
        job: Job,
        device: Device,
        param: Result<Name, String>,
        grad: Tensor<D>,
    ) -> Result<(), Error> {
        let grad = match &self.config.groups[job.group].clipping {
            Some(clipping) => clipping.clip_gradient(grad),
            None => grad,
        };
        let tensors = param.and_then(|param| Ok((param, memory::primitive(grad)?)));
        let (param, grad) = tensors.map_err(|found| {
            let remedy = "Move the model to a wgpu device";
            unfit(&job.path, "a tensor on a wgpu device", found, remedy)
        })?;
        let batch = self.batch(device);
        batch.jobs.push(job);
        batch.search.add(param, grad)
    }

    fn batch(&mut self, device: Device) -> &mut Batch {
        let index = self.batches.iter().position(|batch| batch.device == device);
        let index = index.unwrap_or_else(|| {
            self.batches.push(Batch { device, jobs: Vec::new(), search: Search::default() });
            self.batches.len() - 1
        });
        &mut self.batches[index]
    }
}

impl ModuleMapper for Collector<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.ends.push(self.path.len());
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.truncate(self.ends.pop().unwrap_or(0));
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Without a gradient there is nothing to do, and a lazy parameter stays lazy.
        let Some((grad, device)) = self.grads.remove::<D>(param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let tensor = if tensor.device() == device { tensor } else { tensor.to_device(&device) };
        let tensor = self.collect(id, device, tensor, grad);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// What autodiff knows of a parameter, and must know of its new value too. As in Burn's own
/// optimizers.
struct Context {
    require_grad: bool,
    distributed: bool,
    checkpointing: Option<GradientCheckpointingStrategy>,
}

impl Context {
    fn of<const D: usize>(param: &Tensor<D>) -> Self {
        Self {
            require_grad: param.is_require_grad(),
            distributed: param.is_distributed(),
            checkpointing: param.gradient_checkpointing_strategy(),
        }
    }

    /// The updated parameter as a new leaf, so that a graph of the old value cannot reach it.
    fn restore<const D: usize>(self, updated: Tensor<D>, id: ParamId) -> Tensor<D> {
        let mut param = Tensor::from_inner(updated);
        if let Some(strategy) = self.checkpointing {
            param = param.with_gradient_checkpointing_strategy(strategy);
        }
        if self.require_grad {
            param = param.require_grad();
        }
        if self.distributed { param.set_distributed(id) } else { param }
    }
}

fn check<const D: usize>(path: &str, param: &Tensor<D>, grad: &Tensor<D>) -> Result<(), Error> {
    for (tensor, what) in [(param, "parameter"), (grad, "gradient")] {
        if tensor.dtype() != DType::F32 {
            return Err(unfit(
                path,
                format!("a {what} of f32"),
                format!("{:?}", tensor.dtype()),
                "Cast the module to f32, or train this one with Burn's own optimizer",
            ));
        }
    }
    if param.dims() != grad.dims() {
        return Err(unfit(
            path,
            format!("a gradient of the parameter's shape {:?}", param.dims()),
            format!("{:?}", grad.dims()),
            "Give each parameter its own gradient",
        ));
    }
    Ok(())
}

fn unfit(path: &str, expected: impl Into<String>, found: impl Into<String>, remedy: &str) -> Error {
    Error::Parameter {
        parameter: path.to_owned(),
        expected: expected.into(),
        found: found.into(),
        remedy: remedy.to_owned(),
    }
}
