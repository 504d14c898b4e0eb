//! Adam for one tensor as one would write it by hand, against which the library's is measured.

use super::clock::Kernel;
use super::gpu::{Gpu, PlainKernel};
use super::workload::{GRADIENTS, PARAMETERS, Tensors, check, values};
use wgpu_optim::{Adam, Fields, Rule, wgpu};

/// The coefficients that the kernel reads: all of Adam's but the last, which only AMSGrad needs.
const COEFFS: usize = 7;

pub struct HandwrittenAdam {
    queue: wgpu::Queue,
    coeffs: wgpu::Buffer,
    params: wgpu::Buffer,
    kernel: PlainKernel,
    workgroups: u32,
    steps: u64,
    rule: Adam,
}

impl HandwrittenAdam {
    /// Ready to step, its first steps checked.
    pub fn checked(gpu: &Gpu, elements: usize) -> Self {
        let mut adam = Self::new(gpu, elements);
        let tensors = Tensors { count: 1, len: elements };
        check(gpu, tensors, Adam::default(), &mut adam, |adam, _| gpu.read(&adam.params));
        adam
    }

    fn new(gpu: &Gpu, elements: usize) -> Self {
        let coeffs = gpu.storage(&[0.0_f32; COEFFS]);
        let params = gpu.storage(&values(PARAMETERS, elements));
        let grads = gpu.storage(&values(GRADIENTS, elements));
        let [exp_avg, exp_avg_sq] = [(); 2].map(|()| gpu.storage(&vec![0.0_f32; elements]));
        let buffers = [&coeffs, &params, &grads, &exp_avg, &exp_avg_sq];
        let kernel = gpu.kernel(include_str!("handwritten_adam.wgsl"), &buffers);
        let workgroups = elements.div_ceil(4 * 256) as u32;
        let (queue, rule) = (gpu.queue.clone(), Adam::default());
        Self { queue, coeffs, params, kernel, workgroups, steps: 0, rule }
    }
}

impl Kernel for HandwrittenAdam {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.steps += 1;
        let mut coeffs = Vec::new();
        Rule::coeffs(&self.rule, self.steps, &[]).each(|_, x| coeffs.push(x as f32));
        coeffs.truncate(COEFFS);
        self.queue.write_buffer(&self.coeffs, 0, bytemuck::cast_slice(&coeffs));
        self.kernel.record(pass, [self.workgroups, 1]);
    }
}
