//! What tests of faults share: an optimizer, a twin that nothing happens to, and their bits.

use crate::common::gpu::Gpu;
use wgpu_optim::{Adam, Builder, Error, Optimizer, Param, wgpu};

/// Elements of the one parameter, `w`.
pub const LEN: usize = 300;

/// Refused with a message that has all these words.
pub fn refused<T>(result: Result<T, Error>, words: &[&str]) -> Error {
    let Err(error) = result else { panic!("it should have been refused: {words:?}") };
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
    error
}

/// What a step is asked for: where the host computes coefficients, and where the GPU does.
pub const CONTROLS: [fn(Builder) -> Builder; 2] =
    [|builder| builder, |builder| builder.clip_grad_norm(1.0).skip_non_finite().statistics()];

fn values(first: f32) -> Vec<f32> {
    (0..LEN).map(|index| first + index as f32 / 64.0).collect()
}

/// A parameter and its gradient in buffers of the caller.
pub fn buffers(gpu: &Gpu) -> [wgpu::Buffer; 2] {
    [gpu.buffer(&values(1.0)), gpu.buffer(&values(-2.0))]
}

pub fn build(
    gpu: &Gpu,
    control: fn(Builder) -> Builder,
    [p, g]: [&wgpu::Buffer; 2],
) -> Result<Optimizer, Error> {
    let builder = Optimizer::builder().group(Adam::default(), [Param::new("w", LEN).buffers(p, g)]);
    control(builder).build(&gpu.device, &gpu.queue)
}

/// An optimizer over buffers of its own.
pub fn built(gpu: &Gpu, control: fn(Builder) -> Builder) -> Optimizer {
    let [p, g] = buffers(gpu);
    build(gpu, control, [&p, &g]).expect("built")
}

pub fn step(gpu: &Gpu, optimizer: &mut Optimizer) {
    let mut encoder = gpu.encoder();
    optimizer.step(&mut encoder).expect("recorded");
    gpu.submit(encoder);
}

/// All that a step changes.
pub fn bits(optimizer: &Optimizer) -> Vec<u32> {
    let mut all = optimizer.read_param("w").and_then(|r| r.wait()).expect("read");
    for state in ["exp_avg", "exp_avg_sq"] {
        all.extend(optimizer.read_state("w", state).and_then(|r| r.wait()).expect("read"));
    }
    all.into_iter().map(f32::to_bits).collect()
}

/// After so many steps of an optimizer that nothing happened to.
pub fn expected(gpu: &Gpu, control: fn(Builder) -> Builder, steps: usize) -> Vec<u32> {
    let mut twin = built(gpu, control);
    (0..steps).for_each(|_| step(gpu, &mut twin));
    bits(&twin)
}

/// After one more step an optimizer has taken so many, and no other.
pub fn goes_on(gpu: &Gpu, control: fn(Builder) -> Builder, mut optimizer: Optimizer, steps: usize) {
    step(gpu, &mut optimizer);
    assert!(bits(&optimizer) == expected(gpu, control, steps), "another step than the twin's");
}
