//! The tensors that are stepped, on CPU and GPU alike, and the check that both come to the same.

use super::clock::{self, Kernel};
use super::gpu::Gpu;
use wgpu_optim::{CpuOptimizer, Optimizer, Param, Rule};

/// Tensors of one size.
#[derive(Clone, Copy)]
pub struct Tensors {
    pub count: usize,
    pub len: usize,
}

/// Seeds of [`values`], to which a tensor's index is added.
pub const PARAMETERS: usize = 0;
pub const GRADIENTS: usize = 1 << 16;

/// Numbers between −1 and 1, without a pattern.
pub fn values(seed: usize, len: usize) -> Vec<f32> {
    let value = |i: usize| {
        let x = (i as u32 ^ (seed as u32).rotate_left(16)).wrapping_mul(0x9e37_79b9);
        let x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
        (x ^ (x >> 13)).cast_signed() as f32 / 2_f32.powi(31)
    };
    (0..len).map(value).collect()
}

impl Tensors {
    pub fn elements(self) -> usize {
        self.count * self.len
    }

    fn names(self) -> impl Iterator<Item = (usize, String)> {
        (0..self.count).map(|index| (index, index.to_string()))
    }

    pub fn cpu<R: Rule>(self, rule: R) -> CpuOptimizer<f32> {
        let params = self.names().map(|(_, name)| (name, self.len));
        let mut optimizer =
            CpuOptimizer::builder().group(rule, params).build().expect("valid hyperparameters");
        for (index, name) in self.names() {
            let (params, grads) = (PARAMETERS + index, GRADIENTS + index);
            optimizer.set_param(&name, &values(params, self.len)).expect("a known parameter");
            optimizer.set_grad(&name, &values(grads, self.len)).expect("a known parameter");
        }
        optimizer
    }

    /// On the GPU, in the optimizer's arena; its first steps are checked.
    pub fn arena<R: Rule>(self, gpu: &Gpu, rule: R) -> Optimizer {
        let params = self.names().map(|(_, name)| Param::new(name, self.len));
        self.checked(gpu, rule, params.collect())
    }

    /// On the GPU, in buffers of the caller's, off the alignment that vec4 access needs; its first steps
    /// are checked.
    pub fn misaligned<R: Rule>(self, gpu: &Gpu, rule: R) -> Optimizer {
        let buffer = || gpu.storage(&vec![0.0_f32; self.len + 1]);
        let param =
            |(_, name)| Param::new(name, self.len).buffers(&buffer(), &buffer()).offsets(4, 4);
        self.checked(gpu, rule, self.names().map(param).collect())
    }

    fn checked<R: Rule>(self, gpu: &Gpu, rule: R, params: Vec<Param>) -> Optimizer {
        let mut optimizer = Optimizer::builder()
            .group(rule.clone(), params)
            .build(&gpu.device, &gpu.queue)
            .expect("room for the tensors on the device");
        for (index, name) in self.names() {
            let (params, grads) = (PARAMETERS + index, GRADIENTS + index);
            optimizer.set_param(&name, &values(params, self.len)).expect("a known parameter");
            optimizer.set_grad(&name, &values(grads, self.len)).expect("a known parameter");
        }
        check(gpu, self, rule, &mut optimizer, |optimizer, name| {
            let readback = optimizer.read_param(name).expect("room for a copy");
            readback.wait().expect("a device that still answers")
        });
        optimizer
    }
}

/// Takes a few steps on the GPU, and the same on the CPU: a kernel that computes something else has no
/// speed worth knowing.
pub fn check<R: Rule, K: Kernel>(
    gpu: &Gpu,
    tensors: Tensors,
    rule: R,
    kernel: &mut K,
    read: impl Fn(&K, &str) -> Vec<f32>,
) {
    const STEPS: u64 = 3;
    // A unit in the last place of a parameter for each step, and some more for each update.
    const TOLERANCE: f32 = 1e-6;
    let mut reference = tensors.cpu(rule);
    clock::wall(gpu, STEPS, kernel);
    for _ in 0..STEPS {
        reference.par_step().expect("the CPU's step");
    }
    for (_, name) in tensors.names() {
        let expected = reference.param(&name).expect("a known parameter");
        let found = read(kernel, &name);
        assert_eq!(found.len(), expected.len(), "elements of tensor {name}");
        for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let near = (found - expected).abs() <= TOLERANCE;
            assert!(
                near,
                "{} on the GPU is not what it is on the CPU: after {STEPS} steps element {i} of \
                 tensor {name} is {found}, expected {expected}",
                R::NAME
            );
        }
    }
}
