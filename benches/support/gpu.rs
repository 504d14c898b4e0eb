//! The device under test, and helpers for plain kernels.

use super::memory;
use bytemuck::Pod;
use wgpu::util::DeviceExt;
use wgpu_optim::wgpu;

/// Steps between two waits: enough to keep the device busy, and as few as a training loop has.
pub const STEPS_IN_FLIGHT: u32 = 16;

/// Features that some series need and most devices have, and those that make steps faster. Without
/// them those series are skipped.
const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY
    .union(wgpu::Features::IMMEDIATES)
    .union(wgpu::Features::PIPELINE_CACHE)
    .union(wgpu_optim::Gpu::FEATURES);

/// Set to anything, it leaves out subgroups, to measure what they win.
const NO_SUBGROUPS: &str = "BENCH_NO_SUBGROUPS";

fn wanted() -> wgpu::Features {
    match std::env::var_os(NO_SUBGROUPS) {
        Some(_) => WANTED.difference(wgpu::Features::SUBGROUP),
        None => WANTED,
    }
}

pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: wgpu::AdapterInfo,
    /// `None` on a device without timestamp queries.
    pub timestamps: Option<Timestamps>,
    /// Bytes that all buffers together may have.
    memory: u64,
    adapter: wgpu::Adapter,
}

/// Timestamp queries for the beginning and the end of each step in flight.
pub struct Timestamps {
    pub queries: wgpu::QuerySet,
    pub resolved: wgpu::Buffer,
    pub nanoseconds_per_tick: f64,
}

impl Gpu {
    /// The adapter that wgpu prefers, or the one that `WGPU_ADAPTER_NAME` names, with its highest
    /// limits.
    pub fn open() -> Self {
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        let instance = wgpu::Instance::new(descriptor);
        let adapter =
            pollster::block_on(wgpu::util::initialize_adapter_from_env_or_default(&instance, None))
                .expect("a GPU, or a software driver such as Mesa's lavapipe");
        let (device, queue) = device(&adapter, &adapter.limits());
        let memory = memory::of(&device, &adapter.get_info());
        Self::new(adapter, device, queue, memory)
    }

    /// Another device of the same adapter, with other limits.
    pub fn limited(&self, change: impl FnOnce(&mut wgpu::Limits)) -> Self {
        let mut limits = self.adapter.limits();
        change(&mut limits);
        let (device, queue) = device(&self.adapter, &limits);
        Self::new(self.adapter.clone(), device, queue, self.memory)
    }

    fn new(adapter: wgpu::Adapter, device: wgpu::Device, queue: wgpu::Queue, memory: u64) -> Self {
        let has_timestamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let timestamps = has_timestamps.then(|| Timestamps::new(&device, &queue));
        Self { info: adapter.get_info(), device, queue, timestamps, memory, adapter }
    }

    /// Whether buffers of this many bytes in total fit the device.
    pub fn fits(&self, bytes: u64) -> bool {
        bytes <= self.memory
    }

    /// Whether the driver computes on the CPU: then its speed says nothing about a GPU's.
    pub fn is_software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// The most f32 elements of one buffer that is bound whole, a multiple of 256.
    pub fn most_bound(&self) -> usize {
        let limits = self.device.limits();
        let bytes = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        bytes as usize / 4 / 256 * 256
    }

    /// A storage buffer with these contents.
    pub fn storage<T: Pod>(&self, contents: &[T]) -> wgpu::Buffer {
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(contents),
            usage: STORAGE,
        })
    }

    /// A storage buffer of this many f32, all zero.
    pub fn zeros(&self, elements: usize) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * elements as u64,
            usage: STORAGE,
            mapped_at_creation: false,
        })
    }

    /// The contents of slices of buffers after all submissions so far, concatenated.
    pub fn read<T: Pod>(&self, slices: &[wgpu::BufferSlice<'_>]) -> Vec<T> {
        let size = slices.iter().map(|slice| slice.size()).sum();
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut at = 0;
        for slice in slices {
            let size = slice.size();
            encoder.copy_buffer_to_buffer(slice.buffer(), slice.offset(), &staging, at, size);
            at += size;
        }
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., |mapped| {
            mapped.expect("the copy can be mapped");
        });
        self.queue.submit([encoder.finish()]);
        self.wait();
        let view = staging.get_mapped_range(..).expect("the copy is mapped");
        bytemuck::pod_collect_to_vec(&view)
    }

    /// Waits for all submissions so far.
    pub fn wait(&self) {
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is not lost");
    }

    /// Compiles a kernel with entry point `main`.
    pub fn pipeline(&self, wgsl: &str) -> wgpu::ComputePipeline {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(wgsl.into()),
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        })
    }

    /// Binds buffers to a pipeline's group 0, in order.
    pub fn bind(
        &self,
        pipeline: &wgpu::ComputePipeline,
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    /// The dimensions of a grid of at least this many workgroups.
    pub fn grid(&self, workgroups: u32) -> [u32; 2] {
        let row = workgroups.min(self.device.limits().max_compute_workgroups_per_dimension);
        [row, workgroups.div_ceil(row)]
    }

    /// The device, its driver and the backend.
    pub fn name(&self) -> String {
        let wgpu::AdapterInfo { name, driver, driver_info, backend, .. } = &self.info;
        format!("{name}, driver {driver} {driver_info}, {backend}")
    }
}

const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_SRC)
    .union(wgpu::BufferUsages::COPY_DST);

fn device(adapter: &wgpu::Adapter, limits: &wgpu::Limits) -> (wgpu::Device, wgpu::Queue) {
    let descriptor = wgpu::DeviceDescriptor {
        required_features: adapter.features() & wanted(),
        required_limits: limits.clone(),
        ..Default::default()
    };
    pollster::block_on(adapter.request_device(&descriptor)).expect("the adapter has these limits")
}

/// A pipeline with its bind group.
pub struct PlainKernel {
    pub pipeline: wgpu::ComputePipeline,
    pub bind_group: wgpu::BindGroup,
    pub grid: [u32; 2],
}

impl PlainKernel {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}

impl Timestamps {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let count = 2 * STEPS_IN_FLIGHT;
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(count * wgpu::QUERY_SIZE),
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let nanoseconds_per_tick = queue.get_timestamp_period().into();
        Self { queries, resolved, nanoseconds_per_tick }
    }
}
