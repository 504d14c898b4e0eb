//! What is unsafe to call in wgpu, only for the benches: shaders without runtime checks, to measure what the checks cost,
//! and pipeline caches.

/// Compiles a shader without bounds checks of its own and without bounds on its loops.
///
/// The benches' own kernels are the only ones that come here: they guard every index and have no loops.
pub fn create_shader_module(
    device: &wgpu::Device,
    descriptor: wgpu::ShaderModuleDescriptor<'_>,
) -> wgpu::ShaderModule {
    let checks = wgpu::ShaderRuntimeChecks::unchecked();
    // SAFETY: as the function says.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}

/// A pipeline cache with what an earlier one held.
///
/// # Panics
/// The device lacks `PIPELINE_CACHE`.
pub fn create_pipeline_cache(device: &wgpu::Device, data: Option<&[u8]>) -> wgpu::PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
    // SAFETY: the data is what a cache of this device gave, in this process.
    unsafe { device.create_pipeline_cache(&descriptor) }
}
