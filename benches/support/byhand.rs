//! A step of many tensors, recorded without the library: the baseline for recording.

use super::clock::Kernel;
use super::gpu::Gpu;
use super::handwritten::{COEFFS, coeffs};
use super::shapes::Shape;
use std::sync::Arc;
use wgpu_optim::{Adam, wgpu};

/// Which calls of wgpu are recorded.
#[derive(Clone, Copy, PartialEq)]
pub enum Calls {
    /// The fewest that Adam needs: an upload and a pipeline, and for each tensor a bind group and a
    /// dispatch.
    Fewest,
    /// Those of the library: in addition the bind group of coefficients, and a callback when the
    /// step has run. Allocations of the library beyond these are its own.
    Same,
}

pub struct ByHand {
    queue: wgpu::Queue,
    pipeline: wgpu::ComputePipeline,
    coeffs: wgpu::Buffer,
    /// Bound as the library binds the verdict and the coefficients; the kernel does not read it.
    upload: wgpu::BindGroup,
    in_use: Arc<()>,
    /// With each tensor's workgroups.
    tensors: Vec<(wgpu::BindGroup, u32)>,
    steps: u64,
    scratch: Vec<f64>,
    calls: Calls,
}

impl ByHand {
    pub fn new(gpu: &Gpu, shape: &Shape, calls: Calls) -> Self {
        let pipeline = gpu.pipeline(include_str!("handwritten_adam.wgsl"));
        let coeffs = gpu.zeros(COEFFS);
        let tensor = |&len: &usize| {
            let [params, grads, exp_avg, exp_avg_sq] = [(); 4].map(|()| gpu.zeros(len));
            let buffers = [&coeffs, &params, &grads, &exp_avg, &exp_avg_sq];
            (gpu.bind(&pipeline, &buffers), len.div_ceil(4 * 256) as u32)
        };
        let tensors = shape.tensors.iter().map(tensor).collect();
        let (queue, upload, in_use) = (gpu.queue.clone(), upload(gpu), Arc::new(()));
        let (steps, scratch) = (0, Vec::new());
        Self { queue, pipeline, coeffs, upload, in_use, tensors, steps, scratch, calls }
    }
}

/// Two uniforms with dynamic offsets.
fn upload(gpu: &Gpu) -> wgpu::BindGroup {
    const BYTES: u64 = 256;
    let ty = wgpu::BufferBindingType::Uniform;
    let layout_entries = [0, 1].map(|binding| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: true, min_binding_size: None },
        count: None,
    });
    let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &layout_entries };
    let layout = gpu.device.create_bind_group_layout(&descriptor);
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: BYTES,
        usage: wgpu::BufferUsages::UNIFORM,
        mapped_at_creation: false,
    });
    let entries = [0, 1]
        .map(|binding| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() });
    let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
    gpu.device.create_bind_group(&descriptor)
}

impl Kernel for ByHand {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.steps += 1;
        let coeffs = coeffs(&Adam::default(), self.steps, &mut self.scratch);
        self.queue.write_buffer(&self.coeffs, 0, bytemuck::cast_slice(&coeffs));
        pass.set_pipeline(&self.pipeline);
        if self.calls == Calls::Same {
            pass.set_bind_group(1, &self.upload, &[0, 0]);
            let in_use = self.in_use.clone();
            pass.on_submitted_work_done(move || drop(in_use));
        }
        for (bind_group, workgroups) in &self.tensors {
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*workgroups, 1, 1);
        }
    }
}
