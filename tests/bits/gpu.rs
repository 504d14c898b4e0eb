//! The optimizer on the GPU: on devices of several limits, with parameters in several places.

use crate::api;
use crate::hash::Hash;
use crate::subject::{Control, Group, Member, Subject, common_methods, configure};
use wgpu_optim::{Optimizer, Param, Statistics, wgpu};

/// A device with its queue, and what it is called.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub name: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

/// Where parameters and gradients lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the optimizer's arena.
    Arena,
    /// Each in two buffers of its own, at odd offsets.
    Separate,
    /// All in one buffer, parameters and gradients alike, tightly packed from an odd offset on.
    Pooled,
    /// Parameters in one buffer, gradients in another, at multiples of 16 bytes.
    Aligned,
}

pub const PLACEMENTS: [(&str, Placement); 4] = [
    ("arena", Placement::Arena),
    ("separate", Placement::Separate),
    ("pooled", Placement::Pooled),
    ("aligned", Placement::Aligned),
];

fn adapter() -> wgpu::Adapter {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    if std::env::var("WGPU_BACKEND").is_err() {
        descriptor.backends = wgpu::Backends::PRIMARY;
    }
    let adapter = wgpu::Instance::new(descriptor).request_adapter(&Default::default());
    pollster::block_on(adapter).expect("an adapter; Mesa's lavapipe will do")
}

/// Default limits, such that a long parameter needs several windows and a grid of several rows, and
/// such that it needs several buffers.
fn limits() -> [(&'static str, wgpu::Limits); 3] {
    let default = wgpu::Limits::default();
    let small_bindings = wgpu::Limits {
        max_storage_buffer_binding_size: 64 << 10,
        max_uniform_buffer_binding_size: 16 << 10,
        max_compute_workgroups_per_dimension: 5,
        ..default.clone()
    };
    let small_buffers = wgpu::Limits {
        max_storage_buffer_binding_size: 100 << 10,
        max_uniform_buffer_binding_size: 16 << 10,
        max_buffer_size: 250 << 10,
        ..default.clone()
    };
    [("default", default), ("small_bindings", small_bindings), ("small_buffers", small_buffers)]
}

impl Gpu {
    /// Devices of all limits, each without words of 64 bits, then with them where the adapter can.
    pub fn all() -> Vec<Self> {
        let adapter = adapter();
        let int64 = adapter.features() & wgpu::Features::SHADER_INT64;
        let mut all = Vec::new();
        for (name, limits) in limits() {
            all.push(Self::new(&adapter, name.into(), &limits, wgpu::Features::empty()));
            if !int64.is_empty() {
                all.push(Self::new(&adapter, format!("{name}+int64"), &limits, int64));
            }
        }
        all
    }

    fn new(
        adapter: &wgpu::Adapter,
        name: String,
        limits: &wgpu::Limits,
        features: wgpu::Features,
    ) -> Self {
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: limits.clone(),
            required_features: features,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .expect("the adapter has at least these limits");
        Self { name, device, queue }
    }

    /// Whether a parameter of 65 537 elements is beyond one buffer or one binding.
    pub fn is_small(&self) -> bool {
        self.name.starts_with("small")
    }

    /// Whether a buffer of the caller's can hold such a parameter.
    pub fn has_long_buffers(&self) -> bool {
        self.device.limits().max_buffer_size >= 1 << 20
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    fn buffer(&self, elements: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("bits"),
            size: 4 * elements as u64,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }
}

/// The first element of a parameter or gradient, in a buffer by its number.
#[derive(Debug, Clone, Copy)]
struct Place {
    buffer: usize,
    start: usize,
}

/// Where each parameter and its gradient lie.
fn places(placement: Placement, lens: &[usize]) -> Vec<[Place; 2]> {
    let at = |buffer, start| Place { buffer, start };
    let mut next = 1;
    let place = |(i, &len): (usize, &usize)| match placement {
        Placement::Arena => None,
        Placement::Separate => Some([at(2 * i, 1 + 2 * (i % 4)), at(2 * i + 1, 3 + 2 * (i % 3))]),
        Placement::Pooled => {
            let start = next;
            next += 2 * len;
            Some([at(0, start), at(0, start + len)])
        }
        Placement::Aligned => {
            let start = usize::next_multiple_of(next, 4);
            next = start + len + 1;
            Some([at(0, start), at(1, start)])
        }
    };
    lens.iter().enumerate().map_while(place).collect()
}

/// Buffers that hold the places.
fn buffers(gpu: &Gpu, places: &[[Place; 2]], lens: &[usize]) -> Vec<wgpu::Buffer> {
    let mut sizes = Vec::new();
    for (pair, len) in places.iter().zip(lens) {
        for Place { buffer, start } in *pair {
            sizes.resize(sizes.len().max(buffer + 1), 0);
            sizes[buffer] = sizes[buffer].max(start + len);
        }
    }
    sizes.into_iter().map(|size| gpu.buffer(size)).collect()
}

pub struct OnGpu {
    gpu: Gpu,
    optimizer: Optimizer,
    members: Vec<Member>,
}

impl OnGpu {
    pub fn new(gpu: &Gpu, groups: &[Group], control: &Control, placement: Placement) -> Self {
        let params = groups.iter().flat_map(|group| &group.params);
        let lens: Vec<_> = params.map(|(_, len)| *len).collect();
        let places = places(placement, &lens);
        let buffers = buffers(gpu, &places, &lens);
        let mut places = places.into_iter();
        let mut param = |(name, len): &(String, usize)| match places.next() {
            Some(pair) => {
                let bytes = |place: Place| (&buffers[place.buffer], 4 * place.start as u64);
                api::placed(name, *len, pair.map(bytes))
            }
            None => Param::new(name, *len),
        };
        let builder = configure!(Optimizer::builder(), groups, control, &mut param);
        let optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
        let members = groups.iter().flat_map(Group::members).collect();
        Self { gpu: gpu.clone(), optimizer, members }
    }

    fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.gpu.queue.submit([encoder.finish()]);
    }
}

fn rounded(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

impl Subject for OnGpu {
    common_methods!();

    fn set_param(&mut self, name: &str, values: &[f64]) {
        self.optimizer.set_param(name, &rounded(values)).expect("set");
    }
    fn set_grad(&mut self, name: &str, values: &[f64]) {
        self.optimizer.set_grad(name, &rounded(values)).expect("set");
    }
    fn zero_grad(&mut self) {
        let mut encoder = self.gpu.encoder();
        self.optimizer.zero_grad(&mut encoder).expect("recorded");
        self.submit(encoder);
    }
    fn step(&mut self) {
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).expect("recorded");
        self.submit(encoder);
    }
    fn arrays(&mut self, with_grads: bool) -> u64 {
        let mut reads = Vec::new();
        for Member { name, states } in &self.members {
            reads.push(self.optimizer.read_param(name));
            reads.extend(states.iter().map(|state| self.optimizer.read_state(name, state)));
            if with_grads {
                reads.push(self.optimizer.read_grad(name));
            }
        }
        let mut hash = Hash::new();
        for read in reads {
            let values: Vec<f32> = read.and_then(|read| read.wait()).expect("read");
            hash.numbers(&values);
        }
        hash.0
    }
    fn statistics(&self) -> Option<u64> {
        let numbers = statistics(&self.optimizer)?;
        let mut hash = Hash::new();
        hash.numbers(&numbers);
        Some(hash.0)
    }
}

/// All numbers of the latest step's statistics; `None` if the optimizer keeps none.
fn statistics(optimizer: &Optimizer) -> Option<Vec<f64>> {
    let found = optimizer.read_statistics().ok()?.wait().expect("read");
    let Statistics { grad_norm, clip, loss_scale, next_loss_scale, .. } = found;
    let mut numbers = [grad_norm, clip, loss_scale, next_loss_scale].map(f64::from).to_vec();
    let counts = [found.growth_tracker, found.is_skipped.into(), found.skipped, found.steps];
    numbers.extend(counts.map(f64::from));
    numbers.push(found.non_finite.into());
    numbers.extend(found.first_non_finite.map(|first| first.index as f64));
    for parameter in found.parameters {
        numbers.push(parameter.steps.into());
        let norms = parameter.norms.map(|norms| [norms.grad, norms.param, norms.update]);
        numbers.extend(norms.into_iter().flatten().map(f64::from));
    }
    Some(numbers)
}
