//! Devices to test on.

use std::sync::OnceLock;
use wgpu_optim::wgpu;

/// A device of its own, with its queue.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

pub fn adapter() -> wgpu::Adapter {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    let adapter = INSTANCE.get_or_init(instance).request_adapter(&Default::default());
    pollster::block_on(adapter).expect(
        "these tests need a GPU adapter, and there is none: run scripts/test, which installs \
         Mesa's lavapipe, a Vulkan driver for the CPU",
    )
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    if std::env::var("WGPU_BACKEND").is_err() {
        descriptor.backends = wgpu::Backends::PRIMARY;
    }
    wgpu::Instance::new(descriptor)
}

impl Gpu {
    pub fn new(limits: wgpu::Limits) -> Self {
        Self::with(limits, wgpu::Features::empty())
    }

    fn with(limits: wgpu::Limits, features: wgpu::Features) -> Self {
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: limits,
            required_features: features,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter().request_device(&descriptor))
            .expect("the adapter has at least these limits");
        Self { device, queue }
    }

    /// Default limits, shared by the tests.
    pub fn default() -> &'static Self {
        static GPU: OnceLock<Gpu> = OnceLock::new();
        GPU.get_or_init(|| Self::new(wgpu::Limits::default()))
    }

    /// All that the adapter has, words of 64 bits and subgroups too: lavapipe moves vec4 by the
    /// one, and adds up measures by the other.
    pub fn adapter_limits() -> &'static Self {
        static GPU: OnceLock<Gpu> = OnceLock::new();
        GPU.get_or_init(|| {
            let adapter = adapter();
            let features = wgpu::Features::SHADER_INT64 | wgpu::Features::SUBGROUP;
            Self::with(adapter.limits(), adapter.features() & features)
        })
    }

    /// Default limits, with those of these features that the adapter has. It is never freed.
    pub fn features(features: wgpu::Features) -> &'static Self {
        let features = adapter().features() & features;
        Box::leak(Box::new(Self::with(wgpu::Limits::default(), features)))
    }

    /// Limits so low that a parameter of 65 537 elements needs several windows and a grid of
    /// several rows.
    pub fn small_bindings() -> &'static Self {
        static GPU: OnceLock<Gpu> = OnceLock::new();
        GPU.get_or_init(|| {
            Self::new(wgpu::Limits {
                max_storage_buffer_binding_size: 64 << 10,
                max_uniform_buffer_binding_size: 16 << 10,
                max_compute_workgroups_per_dimension: 5,
                ..wgpu::Limits::default()
            })
        })
    }

    /// Limits so low that a parameter of 65 537 elements needs several buffers.
    pub fn small_buffers() -> &'static Self {
        static GPU: OnceLock<Gpu> = OnceLock::new();
        GPU.get_or_init(|| {
            Self::new(wgpu::Limits {
                max_storage_buffer_binding_size: 100 << 10,
                max_uniform_buffer_binding_size: 16 << 10,
                max_buffer_size: 160 << 10,
                ..wgpu::Limits::default()
            })
        })
    }

    pub fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&Default::default())
    }

    pub fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.queue.submit([encoder.finish()]);
    }

    /// The number of the latest submission, an empty one that this makes.
    pub fn submissions(&self) -> u64 {
        let index = format!("{:?}", self.queue.submit([]));
        let digits: String = index.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number in {index}"))
    }

    /// A buffer of these values that can be an optimizer's and be read.
    pub fn buffer(&self, values: &[f32]) -> wgpu::Buffer {
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("test"),
            size: (4 * values.len() as u64).max(4),
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(values));
        buffer
    }

    /// All values of a buffer, as bits, so that canaries may be any.
    pub fn read(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("test readback"),
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.encoder();
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        // Another test's thread may run the callback, a little after this one's poll.
        let (sender, mapped) = std::sync::mpsc::channel();
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., move |result| {
            sender.send(result).expect("the test waits");
        });
        self.submit(encoder);
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");
        mapped.recv().expect("a result").expect("mapped");
        let view = staging.slice(..).get_mapped_range().expect("mapped");
        bytemuck::pod_collect_to_vec(&view)
    }
}
