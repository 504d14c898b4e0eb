//! Building an optimizer: checks first, then everything it will ever create on the GPU.

use super::Optimizer;
use super::buffers::Buffers;
use super::coefficients::Coefficients;
use super::commands::record_all;
use super::kernel::Compiler;
use crate::dyn_rule::DynRule;
use crate::error::Error;
use crate::groups::Groups;
use crate::layout::{Layout, ParamSpec, Place};
use crate::plan::{self, Limits};
use crate::shader::group_stride;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A parameter: one named tensor of the model, with its gradient.
///
/// A name and a length make a parameter of the arena, which the optimizer allocates; that is the
/// fastest place. [`Self::buffers`] leaves it where your engine has it.
#[derive(Debug, Clone)]
pub struct Param {
    name: String,
    len: usize,
    buffers: Option<[wgpu::Buffer; 2]>,
    offsets: [u64; 2],
}

impl Param {
    /// A parameter of `len` f32 elements. Its name must be unique in the optimizer.
    pub fn new(name: impl Into<String>, len: usize) -> Self {
        Self { name: name.into(), len, buffers: None, offsets: [0, 0] }
    }

    /// Keeps parameter and gradient in buffers of your own, which need the usage `STORAGE`. They may be
    /// one and the same buffer, and hold other things too; nothing outside the parameter's own
    /// elements is written.
    #[must_use]
    pub fn buffers(mut self, param: &wgpu::Buffer, grad: &wgpu::Buffer) -> Self {
        self.buffers = Some([param.clone(), grad.clone()]);
        self
    }

    /// Where parameter and gradient start in their buffers, in bytes: multiples of 4. Multiples of 16
    /// are faster.
    #[must_use]
    pub fn offsets(mut self, param: u64, grad: u64) -> Self {
        self.offsets = [param, grad];
        self
    }
}

impl<N: Into<String>> From<(N, usize)> for Param {
    fn from((name, len): (N, usize)) -> Self {
        Self::new(name, len)
    }
}

/// Collects groups for an [`Optimizer`].
#[derive(Debug, Default)]
#[must_use = "an optimizer is made by `build`"]
pub struct Builder {
    groups: Vec<(Box<dyn DynRule>, Vec<Param>)>,
}

impl Builder {
    /// Adds parameters that share a rule's hyperparameters. `("name", len)` is a parameter too.
    pub fn group<P: Into<Param>>(
        mut self,
        rule: impl Into<Box<dyn DynRule>>,
        params: impl IntoIterator<Item = P>,
    ) -> Self {
        self.groups.push((rule.into(), params.into_iter().map(Into::into).collect()));
        self
    }

    /// Checks everything, then creates states, pipelines and bind groups. Nothing is submitted.
    ///
    /// # Errors
    /// A hyperparameter out of its range, a name given twice, a buffer without `STORAGE`, an offset or
    /// size that does not fit, ranges that overlap, a rule whose WGSL does not fit, a device whose
    /// limits are too low or whose memory is full. A later build may succeed; the device is unharmed.
    pub fn build(self, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Optimizer, Error> {
        let limits = limits(device);
        let (groups, params) = self.register()?;
        let (kernels, places) = kernels(&groups, device.limits().max_uniform_buffer_binding_size);
        for members in &kernels {
            limits.check(groups.groups[members[0]].rule.as_ref())?;
        }
        let (specs, caller) = specs(&params, &groups, &places)?;
        let sizes: Vec<_> = caller.iter().map(wgpu::Buffer::size).collect();
        let layout = Layout::new(&specs, &sizes, kernels.len(), limits.max_buffer_size)?;
        let of_param: Vec<_> = groups.params.iter().map(|param| places[param.group]).collect();
        let dispatches = plan::plan(&layout, &of_param, &limits);

        guarded(device, "building the optimizer", || {
            let buffers = Buffers::new(device, caller, &layout, &groups, &kernels);
            let coefficients = Coefficients::new(device, &groups, &kernels);
            let kernel = |kernel: usize| {
                let members = &kernels[kernel];
                (groups.groups[members[0]].rule.as_ref(), members.len())
            };
            let compiler = Compiler::new(device, &buffers, &coefficients);
            let recorded = record_all(compiler, &limits, &dispatches, kernel)?;
            let kernel_of_group = places.iter().map(|&(kernel, _)| kernel).collect();
            let (device, queue) = (device.clone(), queue.clone());
            Ok(Optimizer {
                device,
                queue,
                groups,
                kernel_of_group,
                layout,
                buffers,
                recorded,
                coefficients,
            })
        })?
    }

    /// Checks hyperparameters and names.
    fn register(self) -> Result<(Groups, Vec<Param>), Error> {
        let mut groups = Groups::default();
        let mut all = Vec::new();
        for (rule, params) in self.groups {
            groups.add_group(rule)?;
            for param in params {
                groups.add_param(param.name.clone(), param.len)?;
                all.push(param);
            }
        }
        Ok((groups, all))
    }
}

/// Groups of the same rule with the same options share a kernel, as many as have room in a uniform
/// buffer: each kernel's groups, and each group's kernel and index within it.
fn kernels(groups: &Groups, max_uniform: u64) -> (Vec<Vec<usize>>, Vec<(usize, u32)>) {
    let mut by_rule: HashMap<_, usize> = HashMap::new();
    let mut kernels: Vec<Vec<usize>> = Vec::new();
    let mut places = Vec::new();
    for (index, group) in groups.groups.iter().enumerate() {
        let rule = &group.rule;
        let room = (max_uniform / group_stride(rule.as_ref())).max(1) as usize;
        let key = (rule.name(), rule.wgsl(), rule.options());
        let kernel = match by_rule.get(&key) {
            Some(&kernel) if kernels[kernel].len() < room => kernel,
            _ => {
                kernels.push(Vec::new());
                by_rule.insert(key, kernels.len() - 1);
                kernels.len() - 1
            }
        };
        places.push((kernel, kernels[kernel].len() as u32));
        kernels[kernel].push(index);
    }
    (kernels, places)
}

/// The parameters as the layout wants them, and the caller's buffers, each once.
#[expect(clippy::mutable_key_type, reason = "a buffer's identity, which is hashed, never changes")]
fn specs(
    params: &[Param],
    groups: &Groups,
    places: &[(usize, u32)],
) -> Result<(Vec<ParamSpec>, Vec<wgpu::Buffer>), Error> {
    let mut caller = Vec::new();
    let mut known = HashMap::new();
    let mut specs = Vec::new();
    for (param, registered) in params.iter().zip(&groups.params) {
        let mut index = |buffer: &wgpu::Buffer| {
            *known.entry(buffer.clone()).or_insert_with(|| {
                caller.push(buffer.clone());
                caller.len() - 1
            })
        };
        let own = match &param.buffers {
            None if param.offsets != [0, 0] => {
                return Err(Error::parameter(
                    &param.name,
                    "buffers of your own where offsets are given",
                    format!("offsets {:?} without buffers", param.offsets),
                    "Call `buffers` too, or leave the offsets out",
                ));
            }
            None => None,
            Some([p, g]) => {
                check_usage(&param.name, p, wgpu::BufferUsages::STORAGE)?;
                check_usage(&param.name, g, wgpu::BufferUsages::STORAGE)?;
                let [p_offset, g_offset] = param.offsets;
                let place = |buffer, offset| Place { buffer, offset };
                Some([place(index(p), p_offset), place(index(g), g_offset)])
            }
        };
        specs.push(ParamSpec {
            name: param.name.clone(),
            len: param.len as u64,
            kernel: places[registered.group].0,
            places: own,
        });
    }
    Ok((specs, caller))
}

/// The limits of the device in hand, which may be lower than its adapter's.
fn limits(device: &wgpu::Device) -> Limits {
    let limits = device.limits();
    Limits {
        max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
        max_buffer_size: limits.max_buffer_size,
        max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension.into(),
        max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup.into(),
        max_compute_workgroup_size_x: limits.max_compute_workgroup_size_x.into(),
        max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage.into(),
        min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment.into(),
    }
}

/// Refuses a buffer of a parameter that was made without a usage that is needed.
pub(super) fn check_usage(
    parameter: &str,
    buffer: &wgpu::Buffer,
    needed: wgpu::BufferUsages,
) -> Result<(), Error> {
    if buffer.usage().contains(needed) {
        return Ok(());
    }
    Err(Error::parameter(
        parameter,
        format!("a buffer with the usage {needed:?}"),
        format!("{:?}", buffer.usage()),
        "Add the usage where the buffer is created",
    ))
}

/// Runs something that creates on the device, and turns wgpu's errors into ours.
pub(super) fn guarded<T>(
    device: &wgpu::Device,
    during: &'static str,
    create: impl FnOnce() -> T,
) -> Result<T, Error> {
    match scoped(device, create) {
        (_, Some(error)) => Err(Error::device(during, error)),
        (created, None) => Ok(created),
    }
}

/// Runs something that creates on the device, and gives wgpu's first error with what was created.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    create: impl FnOnce() -> T,
) -> (T, Option<wgpu::Error>) {
    let scopes = [
        device.push_error_scope(wgpu::ErrorFilter::Internal),
        device.push_error_scope(wgpu::ErrorFilter::OutOfMemory),
        device.push_error_scope(wgpu::ErrorFilter::Validation),
    ];
    let created = create();
    let mut first_error = None;
    for scope in scopes.into_iter().rev() {
        let error = now(scope.pop()).flatten();
        first_error = first_error.or(error);
    }
    (created, first_error)
}

/// The result of a future that is ready at once, as error scopes are wherever the library runs
/// beside the device. In browsers they are not; errors reach the device's own handler there.
pub(super) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
