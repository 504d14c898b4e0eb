//! A variant that is ready to step.

use super::support::clock::Kernel;
use super::support::gpu::Gpu;
use super::support::handwritten::{COEFFS, coeffs};
use super::support::shapes::Shape;
use super::support::values::{self, GRADIENTS, PARAMETERS};
use super::support::workload::check;
use super::variant::{Coeffs, Variant};
use wgpu_optim::{Adam, wgpu};

/// The arrays that all variants update: parameters, gradients and two states.
pub struct Arrays([wgpu::Buffer; 4]);

impl Arrays {
    pub fn new(gpu: &Gpu, elements: usize) -> Self {
        Self([(); 4].map(|()| gpu.zeros(elements)))
    }

    /// Sets the values before the first step.
    fn reset(&self, gpu: &Gpu) {
        let [params, grads, exp_avg, exp_avg_sq] = &self.0;
        values::fill(gpu, &[params.slice(..)], PARAMETERS);
        values::fill(gpu, &[grads.slice(..)], GRADIENTS);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(exp_avg, 0, None);
        encoder.clear_buffer(exp_avg_sq, 0, None);
        gpu.queue.submit([encoder.finish()]);
    }
}

pub struct VariantKernel {
    queue: wgpu::Queue,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    /// `None` if the coefficients are immediates.
    coeffs: Option<wgpu::Buffer>,
    grid: [u32; 2],
    params: wgpu::Buffer,
    steps: u64,
}

impl VariantKernel {
    /// Ready to step, after a check of its first steps.
    pub fn checked(gpu: &Gpu, arrays: &Arrays, shape: &Shape, variant: Variant) -> Self {
        arrays.reset(gpu);
        let mut kernel = Self::new(gpu, arrays, shape.elements(), variant);
        check(gpu, shape, &Adam::default(), &mut kernel, |kernel, _| vec![kernel.params.slice(..)]);
        kernel
    }

    fn new(gpu: &Gpu, arrays: &Arrays, elements: usize, variant: Variant) -> Self {
        let table = gpu.storage(&variant.table(elements));
        let coeffs = (variant.coeffs != Coeffs::Immediates).then(|| coeffs_buffer(gpu));
        let buffers: Vec<_> =
            std::iter::once(&table).chain(&arrays.0).chain(coeffs.iter()).collect();
        let layout = layout(gpu, variant);
        let entries: Vec<_> = (0..)
            .zip(&buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bind_group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &entries,
        });
        let workgroups = variant.workgroups(elements);
        let grid = if variant.dimensions == 1 { [workgroups, 1] } else { gpu.grid(workgroups) };
        let pipeline = pipeline(gpu, &layout, variant);
        let params = arrays.0[0].clone();
        Self { queue: gpu.queue.clone(), pipeline, bind_group, coeffs, grid, params, steps: 0 }
    }
}

fn coeffs_buffer(gpu: &Gpu) -> wgpu::Buffer {
    gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * (COEFFS as u64).next_multiple_of(4),
        usage: wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

fn layout(gpu: &Gpu, variant: Variant) -> wgpu::BindGroupLayout {
    let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
    let mut types = vec![
        storage(true),
        storage(false),
        storage(!variant.writable_grads),
        storage(false),
        storage(false),
    ];
    types.extend(match variant.coeffs {
        Coeffs::Uniform => Some(wgpu::BufferBindingType::Uniform),
        Coeffs::Storage => Some(storage(true)),
        Coeffs::Immediates => None,
    });
    let entry = |(binding, ty)| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let entries: Vec<_> = (0..).zip(types).map(entry).collect();
    let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries };
    gpu.device.create_bind_group_layout(&descriptor)
}

fn pipeline(gpu: &Gpu, layout: &wgpu::BindGroupLayout, variant: Variant) -> wgpu::ComputePipeline {
    let text = variant.wgsl();
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(text.into()) };
    let module = match variant.checks {
        true => gpu.device.create_shader_module(descriptor),
        false => wgpu_optim_bench_unchecked::create_shader_module(&gpu.device, descriptor),
    };
    let immediates = variant.coeffs == Coeffs::Immediates;
    let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(layout)],
        immediate_size: if immediates { 4 * COEFFS as u32 } else { 0 },
    });
    gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    })
}

impl Kernel for VariantKernel {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.steps += 1;
        let coeffs = coeffs(&Adam::default(), self.steps, &mut Vec::new());
        let bytes = bytemuck::cast_slice(&coeffs);
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        match &self.coeffs {
            Some(buffer) => self.queue.write_buffer(buffer, 0, bytes),
            None => pass.set_immediates(0, bytes),
        }
        pass.dispatch_workgroups(self.grid[0], self.grid[1], 1);
    }
}
