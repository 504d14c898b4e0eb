//! Finding a GPU.

use wgpu_optim::wgpu;

/// A GPU to compute on.
#[derive(Clone)]
pub struct Gpu {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// Adapter, type, backend and driver.
    pub description: String,
}

impl Gpu {
    /// Opens the GPU that wgpu's environment variables select, or the fastest. The error says why
    /// there is none.
    pub fn open() -> Result<Self, String> {
        let adapter = find_adapter().ok_or("No GPU adapter found")?;
        let description = describe(&adapter.get_info());
        let device = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: adapter.features() & wgpu_optim::Gpu::FEATURES,
            ..Default::default()
        }));
        match device {
            Ok((device, queue)) => Ok(Self { device, queue, description }),
            Err(error) => Err(format!("{description} offers no device ({error})")),
        }
    }
}

fn find_adapter() -> Option<wgpu::Adapter> {
    // OpenGL is tried last, since some of its drivers lack compute shaders.
    let backends = wgpu::Backends::from_env().map_or_else(
        || vec![wgpu::Backends::PRIMARY, wgpu::Backends::SECONDARY],
        |chosen| vec![chosen],
    );
    let power_preference =
        wgpu::PowerPreference::from_env().unwrap_or(wgpu::PowerPreference::HighPerformance);
    backends.into_iter().find_map(|backends| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
        descriptor.backends = backends;
        let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
        pollster::block_on(wgpu::Instance::new(descriptor).request_adapter(&options)).ok()
    })
}

fn describe(adapter: &wgpu::AdapterInfo) -> String {
    let kind = match adapter.device_type {
        wgpu::DeviceType::DiscreteGpu => "discrete GPU",
        wgpu::DeviceType::IntegratedGpu => "integrated GPU",
        wgpu::DeviceType::VirtualGpu => "virtual GPU",
        wgpu::DeviceType::Cpu => "software on the CPU",
        wgpu::DeviceType::Other => "GPU of unknown type",
    };
    let driver = format!("{} {}", adapter.driver, adapter.driver_info);
    format!("{}, {kind}, backend {}, driver {}", adapter.name, adapter.backend, driver.trim())
}
