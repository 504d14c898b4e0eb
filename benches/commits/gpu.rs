//! The device that both commits step on.

use wgpu::Features;

#[derive(Clone)]
pub struct Gpu {
    pub name: String,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

impl Gpu {
    pub fn open() -> Self {
        let instance =
            wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter =
            pollster::block_on(wgpu::util::initialize_adapter_from_env_or_default(&instance, None))
                .expect("an adapter");
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            required_features: adapter.features() & (Features::SHADER_INT64 | Features::SUBGROUP),
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) =
            pollster::block_on(adapter.request_device(&descriptor)).expect("a device");
        Self { name: format!("{}, {} {}", info.name, info.driver, info.driver_info), device, queue }
    }
}
