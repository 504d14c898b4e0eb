//! Adam for one tensor, written by hand: the baseline for the library's kernel.

use super::clock::Kernel;
use super::gpu::{Gpu, PlainKernel};
use super::shapes::Shape;
use super::values::{self, GRADIENTS, PARAMETERS};
use super::workload::check;
use wgpu_optim::{Adam, DynRule, wgpu};

/// The number of coefficients that the kernel reads: all of Adam's except the last, which only
/// AMSGrad needs.
pub const COEFFS: usize = 7;

/// The coefficients of a step. `all` is memory that is reused.
pub fn coeffs(rule: &Adam, step: u64, all: &mut Vec<f64>) -> [f32; COEFFS] {
    all.clear();
    rule.coeffs(step, &[], all);
    // The rule's own coefficients come last.
    let own = &all[all.len() - rule.coeff_names().len()..];
    std::array::from_fn(|k| own[k] as f32)
}

pub struct HandwrittenAdam {
    queue: wgpu::Queue,
    coeffs: wgpu::Buffer,
    params: wgpu::Buffer,
    kernel: PlainKernel,
    steps: u64,
    scratch: Vec<f64>,
    rule: Adam,
}

impl HandwrittenAdam {
    /// Ready to step, after a check of its first steps.
    pub fn checked(gpu: &Gpu, elements: usize) -> Self {
        let mut adam = Self::new(gpu, elements);
        let shape = Shape::one(elements);
        check(gpu, &shape, &Adam::default(), &mut adam, |adam, _| vec![adam.params.slice(..)]);
        adam
    }

    fn new(gpu: &Gpu, elements: usize) -> Self {
        let coeffs = gpu.zeros(COEFFS);
        let [params, grads, exp_avg, exp_avg_sq] = [(); 4].map(|()| gpu.zeros(elements));
        values::fill(gpu, &[params.slice(..)], PARAMETERS);
        values::fill(gpu, &[grads.slice(..)], GRADIENTS);
        let pipeline = gpu.pipeline(include_str!("handwritten_adam.wgsl"));
        let buffers = [&coeffs, &params, &grads, &exp_avg, &exp_avg_sq];
        let bind_group = gpu.bind(&pipeline, &buffers);
        let grid = gpu.grid(elements.div_ceil(4 * 256) as u32);
        let kernel = PlainKernel { pipeline, bind_group, grid };
        let (queue, rule) = (gpu.queue.clone(), Adam::default());
        Self { queue, coeffs, params, kernel, steps: 0, scratch: Vec::new(), rule }
    }
}

impl Kernel for HandwrittenAdam {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.steps += 1;
        let coeffs = coeffs(&self.rule, self.steps, &mut self.scratch);
        self.queue.write_buffer(&self.coeffs, 0, bytemuck::cast_slice(&coeffs));
        self.kernel.record(pass);
    }
}
