//! Building and stepping an optimizer, whatever its engine.

use super::gpu::Gpu;
use wgpu_optim::optimizer::{Builder, Engine};
use wgpu_optim::{CpuOptimizer, Optimizer, Real, optimizer};

/// What differs between engines: how they step, and how they are built.
pub trait Steps: Engine {
    fn build(builder: Builder<Self>) -> optimizer::Optimizer<Self>;
    fn step(optimizer: &mut optimizer::Optimizer<Self>);
}

impl Steps for wgpu_optim::Gpu {
    fn build(builder: Builder<Self>) -> Optimizer {
        let Gpu { device, queue } = Gpu::default();
        builder.build(device, queue).expect("built")
    }

    fn step(optimizer: &mut Optimizer) {
        let gpu = Gpu::default();
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
    }
}

impl<T: Real> Steps for wgpu_optim::Cpu<T> {
    fn build(builder: Builder<Self>) -> CpuOptimizer<T> {
        builder.build().expect("built")
    }

    fn step(optimizer: &mut CpuOptimizer<T>) {
        optimizer.step().expect("stepped");
    }
}
