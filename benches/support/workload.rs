//! Optimizers over the tensors of a shape, on the CPU and on the GPU, and the check that their
//! results are the same.

use super::clock::{self, Kernel};
use super::gpu::Gpu;
use super::record::{OURS, Subject};
use super::shapes::Shape;
use super::values::{self, GRADIENTS, PARAMETERS, PERIOD};
use wgpu_optim::{
    Adagrad, Adam, AdamW, Builder, CpuOptimizer, DynRule, Optimizer, Param, RMSprop, SGD, Storage,
    wgpu,
};

pub type BoxedRule = Box<dyn DynRule>;

/// The rules that targets are about.
pub fn main_rules() -> Vec<BoxedRule> {
    vec![
        Adam::default().into(),
        RMSprop::default().into(),
        Adagrad::default().into(),
        SGD { momentum: 0.9, ..Default::default() }.into(),
    ]
}

/// A rule with the options that `torch_step.py` uses, by its name in lower case.
pub fn rule(name: &str) -> BoxedRule {
    let adamw: BoxedRule = AdamW::default().into();
    let mut known = main_rules().into_iter().chain([adamw]);
    known.find(|rule| rule.name() == name).expect("a rule of the benches")
}

/// Bytes that a step reads and writes for an f32 element: the gradient is read, the parameter and
/// the states are read and written.
pub fn bytes_per_element(rule: &dyn DynRule) -> usize {
    4 * (3 + 2 * rule.states().len())
}

/// Bytes that an optimizer allocates on the device: parameters, gradients, states, and the table of
/// blocks.
pub fn bytes_held(rule: &dyn DynRule, shape: &Shape) -> u64 {
    let per_block = 256 * 4 * (2 + rule.states().len()) + 16;
    shape.tensors.iter().map(|&len| (len.div_ceil(256) * per_block) as u64).sum()
}

/// Where parameters and gradients are.
#[derive(Clone, Copy, PartialEq)]
pub enum Placement {
    /// In the optimizer's arena.
    Arena,
    /// Each in a buffer of its own.
    Separate,
    /// The same, without the alignment that vec4 access needs.
    Misaligned,
}

impl Placement {
    pub fn name(self) -> &'static str {
        match self {
            Self::Arena => "arena",
            Self::Separate => "separate buffers",
            Self::Misaligned => "offset of 4 bytes",
        }
    }

    fn param(self, gpu: &Gpu, name: String, len: usize) -> Param {
        let param = Param::new(name, len);
        match self {
            Self::Arena => param,
            Self::Separate => param.buffers(&gpu.zeros(len), &gpu.zeros(len)),
            Self::Misaligned => param.buffers((&gpu.zeros(len + 1), 4), (&gpu.zeros(len + 1), 4)),
        }
    }
}

/// An optimizer on the CPU.
pub fn cpu(shape: &Shape, rule: &dyn DynRule) -> CpuOptimizer<f32> {
    cpu_stored(shape, rule, &Storage::f32())
}

/// The same with arrays that are stored like this.
pub fn cpu_stored(shape: &Shape, rule: &dyn DynRule, storage: &Storage) -> CpuOptimizer<f32> {
    let named = |(index, &len): (usize, &usize)| (index.to_string(), len);
    let params = shape.tensors.iter().enumerate().map(named);
    let builder = CpuOptimizer::builder().group(rule.boxed(), params);
    let mut optimizer = builder.storage("*", storage.clone()).build().expect("valid");
    for (index, &len) in shape.tensors.iter().enumerate() {
        let (name, numbers) = (index.to_string(), |seed| values::tensor(seed + index, len));
        optimizer.set_param(&name, &numbers(PARAMETERS)).expect("a known parameter");
        optimizer.set_grad(&name, &numbers(GRADIENTS)).expect("a known parameter");
    }
    optimizer
}

/// An optimizer on the GPU; parameters and gradients are not set.
pub fn built(gpu: &Gpu, shape: &Shape, rule: &dyn DynRule, placement: Placement) -> Optimizer {
    built_with(gpu, shape, rule, placement, |builder| builder)
}

pub fn built_with(
    gpu: &Gpu,
    shape: &Shape,
    rule: &dyn DynRule,
    placement: Placement,
    around: impl Fn(Builder) -> Builder,
) -> Optimizer {
    let param = |(index, &len): (usize, &usize)| placement.param(gpu, index.to_string(), len);
    let params: Vec<_> = shape.tensors.iter().enumerate().map(param).collect();
    let builder = around(Optimizer::builder().group(rule.boxed(), params));
    builder.build(&gpu.device, &gpu.queue).expect("the tensors fit the device")
}

/// An optimizer on the GPU, after a check of its first steps.
pub fn checked(gpu: &Gpu, shape: &Shape, rule: &dyn DynRule, placement: Placement) -> Optimizer {
    checked_with(gpu, shape, rule, placement, |builder| builder)
}

/// The same with control around its steps that does not change their results.
pub fn checked_with(
    gpu: &Gpu,
    shape: &Shape,
    rule: &dyn DynRule,
    placement: Placement,
    around: impl Fn(Builder) -> Builder,
) -> Optimizer {
    let mut optimizer = built_with(gpu, shape, rule, placement, around);
    for index in 0..shape.tensors.len() {
        let name = index.to_string();
        let (params, grads) = (optimizer.param(&name), optimizer.grad(&name));
        values::fill(gpu, &params.expect("a known parameter"), PARAMETERS + index);
        values::fill(gpu, &grads.expect("a known parameter"), GRADIENTS + index);
    }
    check(gpu, shape, rule, &mut optimizer, |optimizer, tensor| {
        optimizer.param(tensor.to_string()).expect("a known parameter")
    });
    optimizer
}

/// Takes a few steps on the GPU and on the CPU and compares them, since the speed of a kernel with
/// wrong results is meaningless. `slices` returns where the kernel keeps a tensor.
pub fn check<K: Kernel>(
    gpu: &Gpu,
    shape: &Shape,
    rule: &dyn DynRule,
    kernel: &mut K,
    slices: impl for<'k> Fn(&'k K, usize) -> Vec<wgpu::BufferSlice<'k>>,
) {
    const STEPS: u64 = 3;
    let reference = reference(shape, rule, STEPS);
    clock::wall(gpu, STEPS, kernel);
    for (tensor, &len) in shape.tensors.iter().enumerate() {
        let expected = reference.param(tensor.to_string()).expect("a known parameter");
        let expected = expected.as_slice().expect("a contiguous array");
        let windows = values::windows(len);
        let parts: Vec<_> =
            windows.iter().flat_map(|window| cut(&slices(kernel, tensor), window)).collect();
        let found: Vec<f32> = gpu.read(&parts);
        for (i, found) in windows.into_iter().flatten().zip(found) {
            compare(rule.name(), &shape.name, (tensor, i), found, expected[i % PERIOD]);
        }
    }
}

/// The CPU's steps over one period of each tensor, which determines all its elements. (It
/// determines trust ratios too: over whole periods, norms have the same ratio.)
fn reference(shape: &Shape, rule: &dyn DynRule, steps: u64) -> CpuOptimizer<f32> {
    let tensors = shape.tensors.iter().map(|&len| len.min(PERIOD)).collect();
    let mut reference = cpu(&Shape { name: shape.name.clone(), tensors }, rule);
    for _ in 0..steps {
        reference.par_step().expect("the CPU's step");
    }
    reference
}

/// The parts of consecutive slices that hold a range of elements.
fn cut<'a>(
    slices: &[wgpu::BufferSlice<'a>],
    window: &std::ops::Range<usize>,
) -> Vec<wgpu::BufferSlice<'a>> {
    let mut first = 0;
    let mut parts = Vec::new();
    for slice in slices {
        let end = first + values::elements(slice);
        let (from, to) = (window.start.max(first), window.end.min(end));
        if from < to {
            parts.push(slice.slice(4 * (from - first) as u64..4 * (to - first) as u64));
        }
        first = end;
    }
    parts
}

fn compare(rule: &str, shape: &str, (tensor, element): (usize, usize), found: f32, expected: f32) {
    // Rounding of the parameter and of the update in each step.
    const TOLERANCE: f32 = 1e-6;
    assert!(
        (found - expected).abs() <= TOLERANCE,
        "{rule} on the GPU differs from the CPU: after a few steps of {shape}, element {element} \
         of tensor {tensor} is {found}, expected {expected}"
    );
}

/// The subject of one of this crate's lines.
pub fn ours(rule: &dyn DynRule, shape: &Shape, implementation: &str) -> Subject {
    Subject {
        peer: OURS.into(),
        rule: rule.name().into(),
        implementation: implementation.into(),
        shape: shape.name.clone(),
        elements: shape.elements(),
        bytes: shape.elements() * bytes_per_element(rule),
    }
}
