//! A step of many tensors recorded without the library: what recording the library's is measured against.

use super::clock::Kernel;
use super::gpu::Gpu;
use super::handwritten::{COEFFS, coeffs};
use super::shapes::Shape;
use std::sync::Arc;
use wgpu_optim::{Adam, wgpu};

/// Which calls of wgpu are made.
#[derive(Clone, Copy, PartialEq)]
pub enum Calls {
    /// The least that Adam needs: one upload, one pipeline, for each tensor a bind group and a dispatch.
    Least,
    /// Those that the library makes: also for each dispatch the pipeline and the coefficients' slot, and
    /// for each step a word when it has run. What the library allocates beyond these is its own.
    Same,
}

pub struct ByHand {
    queue: wgpu::Queue,
    pipeline: wgpu::ComputePipeline,
    coeffs: wgpu::Buffer,
    /// Bound as the library binds a slot; the kernel does not read it.
    slot: wgpu::BindGroup,
    in_use: Arc<()>,
    /// With each tensor's workgroups.
    tensors: Vec<(wgpu::BindGroup, u32)>,
    steps: u64,
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
        let (queue, slot, in_use) = (gpu.queue.clone(), slot(gpu), Arc::new(()));
        Self { queue, pipeline, coeffs, slot, in_use, tensors, steps: 0, calls }
    }
}

/// A uniform with a dynamic offset.
fn slot(gpu: &Gpu) -> wgpu::BindGroup {
    const BYTES: u64 = 256;
    let ty = wgpu::BufferBindingType::Uniform;
    let entry = wgpu::BindGroupLayoutEntry {
        binding: 0,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: true, min_binding_size: None },
        count: None,
    };
    let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &[entry] };
    let layout = gpu.device.create_bind_group_layout(&descriptor);
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: BYTES,
        usage: wgpu::BufferUsages::UNIFORM,
        mapped_at_creation: false,
    });
    let resource = buffer.as_entire_binding();
    let entries = &[wgpu::BindGroupEntry { binding: 0, resource }];
    let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries };
    gpu.device.create_bind_group(&descriptor)
}

impl Kernel for ByHand {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.steps += 1;
        let coeffs = coeffs(&Adam::default(), self.steps);
        self.queue.write_buffer(&self.coeffs, 0, bytemuck::cast_slice(&coeffs));
        if self.calls == Calls::Same {
            let in_use = self.in_use.clone();
            pass.on_submitted_work_done(move || drop(in_use));
        } else {
            pass.set_pipeline(&self.pipeline);
        }
        for (bind_group, workgroups) in &self.tensors {
            if self.calls == Calls::Same {
                pass.set_pipeline(&self.pipeline);
            }
            pass.set_bind_group(0, bind_group, &[]);
            if self.calls == Calls::Same {
                pass.set_bind_group(1, &self.slot, &[0]);
            }
            pass.dispatch_workgroups(*workgroups, 1, 1);
        }
    }
}
