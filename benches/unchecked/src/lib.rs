//! Shaders without wgpu's runtime checks, to measure what the checks cost. Only for the benches.

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
