//! Calls of wgpu that are unsafe, only for the benches: shaders without runtime checks, to measure
//! the cost of the checks, and pipeline caches.

/// Compiles a shader without wgpu's bounds checks and without its bounds on loops.
///
/// It is only called with the benches' own kernels, which check every index and have no loops.
pub fn create_shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    let checks = wgpu::ShaderRuntimeChecks::unchecked();
    // SAFETY: see the function's documentation.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

/// A pipeline cache with the data of an earlier one.
///
/// # Panics
/// The device lacks `PIPELINE_CACHE`.
pub fn create_pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
    // SAFETY: the data is from a cache of this device, in this process.
    unsafe { device.create_pipeline_cache(&descriptor) }
}
