//! Compute kernels: an entry point of a WGSL module, compiled once and called with tensors.

use crate::tensor::Tensor;

/// Threads of a workgroup, as in the WGSL.
const WORKGROUP_SIZE: usize = 64;

/// A compiled entry point.
pub struct Kernel {
    pipeline: wgpu::ComputePipeline,
}

impl Kernel {
    /// Compiles an entry point, with these values for the module's `override` constants.
    pub fn new(
        device: &wgpu::Device,
        module: &wgpu::ShaderModule,
        entry_point: &str,
        overrides: &[(&str, f64)],
    ) -> Self {
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: None, // wgpu derives it from the bindings that the entry point uses
            module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: overrides,
                ..Default::default()
            },
            cache: None,
        });
        Self { pipeline }
    }

    /// A call by this many threads, with tensors for the entry point's bindings.
    pub fn call(&self, device: &wgpu::Device, threads: usize, tensors: &[(u32, &Tensor)]) -> Call {
        let entries: Vec<_> = tensors
            .iter()
            .map(|(binding, tensor)| wgpu::BindGroupEntry {
                binding: *binding,
                resource: tensor.binding(),
            })
            .collect();
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let workgroups = threads.div_ceil(WORKGROUP_SIZE) as u32;
        Call { pipeline: self.pipeline.clone(), bind_group, workgroups }
    }
}

/// A kernel with its arguments, which is created once and recorded for every batch.
pub struct Call {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    workgroups: u32,
}

impl Call {
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.dispatch_workgroups(self.workgroups, 1, 1);
    }
}
