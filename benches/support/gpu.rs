//! The device under test, and the little that a plain kernel needs of it.

use bytemuck::Pod;
use wgpu::util::DeviceExt;
use wgpu_optim::wgpu;

/// Steps between two waits: enough to keep the device busy, few enough to be a training loop's.
pub const STEPS_IN_FLIGHT: u32 = 16;

pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: wgpu::AdapterInfo,
    /// None on a device without timestamps.
    pub timestamps: Option<Timestamps>,
}

/// A beginning and an end for each step in flight.
pub struct Timestamps {
    pub queries: wgpu::QuerySet,
    pub resolved: wgpu::Buffer,
    pub nanoseconds_per_tick: f64,
}

impl Gpu {
    /// The adapter that wgpu prefers, or the one that `WGPU_ADAPTER_NAME` names, with all its limits.
    pub fn open() -> Self {
        let descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        let instance = wgpu::Instance::new(descriptor);
        let adapter =
            pollster::block_on(wgpu::util::initialize_adapter_from_env_or_default(&instance, None))
                .expect("a GPU, or a driver such as Mesa's lavapipe that stands in for one");
        let features = adapter.features() & wgpu::Features::TIMESTAMP_QUERY;
        let descriptor = wgpu::DeviceDescriptor {
            required_features: features,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .expect("a device with its adapter's limits");
        let timestamps = (!features.is_empty()).then(|| Timestamps::new(&device, &queue));
        Self { info: adapter.get_info(), device, queue, timestamps }
    }

    /// A storage buffer with these contents.
    pub fn storage<T: Pod>(&self, contents: &[T]) -> wgpu::Buffer {
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(contents),
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
        })
    }

    /// What a buffer holds after all submissions so far.
    pub fn read<T: Pod>(&self, buffer: &wgpu::Buffer) -> Vec<T> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., |mapped| {
            mapped.expect("a readable copy");
        });
        self.queue.submit([encoder.finish()]);
        self.wait();
        let view = staging.get_mapped_range(..).expect("a mapped copy");
        bytemuck::pod_collect_to_vec(&view)
    }

    /// Waits for all submissions so far.
    pub fn wait(&self) {
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("a device that still answers");
    }

    /// Compiles a kernel with entry point `main` and binds buffers to it, in order.
    pub fn kernel(&self, wgsl: &str, buffers: &[&wgpu::Buffer]) -> PlainKernel {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(wgsl.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        PlainKernel { pipeline, bind_group }
    }

    /// A grid of at least this many workgroups.
    pub fn grid(&self, workgroups: u32) -> [u32; 2] {
        let row = workgroups.min(self.device.limits().max_compute_workgroups_per_dimension);
        [row, workgroups.div_ceil(row)]
    }
}

/// A pipeline with all that it binds.
pub struct PlainKernel {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
}

impl PlainKernel {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>, grid: [u32; 2]) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(grid[0], grid[1], 1);
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
