//! The cost of a step on the host: time to record it, and allocations.

use super::support::bench::Bench;
use super::support::byhand::{ByHand, Calls};
use super::support::clock::Kernel;
use super::support::gpu::Gpu;
use super::support::shapes::Shape;
use super::support::stats::median;
use super::support::workload::{Placement, built, built_with, rule};
use std::time::Instant;
use wgpu_optim::{Builder, GradScaler, Optimizer, Param, ParamId, Place, wgpu};

/// Warm-up steps, in which wgpu's queues and pools grow.
const WARM_UP: usize = 32;

/// Elements of a tensor: few, so that waits for the device are short.
const LEN: usize = 256;

/// Adam with different numbers of tensors in the arena and in separate buffers, with control on the
/// GPU, and written by hand.
pub fn record(bench: &mut Bench) {
    let counts: &[usize] = if bench.quick { &[1, 10] } else { &[1, 1000, 10_000] };
    for &count in counts {
        library(bench, &Shape::many(count, LEN), Placement::Arena);
    }
    controlled(bench, &Shape::many(if bench.quick { 10 } else { 1000 }, LEN));
    let large = [Shape::one(1 << 24), Shape::many(1000, 4096), Shape::many(1000, 65_536)];
    for shape in if bench.quick { vec![Shape::many(10, 260)] } else { large.into() } {
        moving(bench, &shape);
    }
    let separate = Shape::many(if bench.quick { 10 } else { 1000 }, LEN);
    library(bench, &separate, Placement::Separate);
    for shape in [Shape::many(1, LEN), separate] {
        by_hand(bench, &shape, "by hand, the least calls", Calls::Fewest);
        by_hand(bench, &shape, "by hand, the same calls", Calls::Same);
    }
}

fn library(bench: &mut Bench, shape: &Shape, placement: Placement) {
    let mut optimizer = built(&bench.gpu, shape, rule("adam").as_ref(), placement);
    let dispatches = optimizer.dispatches().expect("prepared");
    measure(bench, shape, placement.name(), dispatches, &mut optimizer);
}

/// A step whose gradients are in other memory than in the step before, as in engines with memory
/// pools.
fn moving(bench: &mut Bench, shape: &Shape) {
    let gpu = &bench.gpu;
    if 12 * shape.elements() as u64 > gpu.device.limits().max_buffer_size {
        return;
    }
    let pool = Pool::new(gpu, shape);
    let mut optimizer = pool.optimizer(gpu, shape);
    let ids: Vec<_> = optimizer.params().map(|param| param.id).collect();
    let mut times = Vec::new();
    for step in 0..if bench.quick { 2 } else { 30 } {
        let moved = pool.places(&ids, 1 + step % 2);
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let start = Instant::now();
        optimizer.set_buffers(moved).expect("disjoint");
        optimizer.step(&mut encoder).expect("recorded");
        times.push(start.elapsed().as_secs_f64() * 1e6);
        gpu.queue.submit([encoder.finish()]);
        gpu.wait();
    }
    bench.record.number("move all gradients and record a step", &shape.name, median(&times), "us");
}

/// A buffer with parameters in its first third, and gradients in one of the others.
struct Pool {
    buffer: wgpu::Buffer,
    /// Bytes of a third.
    third: u64,
    /// Each tensor's offset in bytes within a third.
    offsets: Vec<u64>,
}

impl Pool {
    fn new(gpu: &Gpu, shape: &Shape) -> Self {
        let offsets = shape.tensors.iter().scan(0, |next, &len| {
            let offset = *next;
            *next += 4 * len as u64;
            Some(offset)
        });
        let (buffer, third) = (gpu.zeros(3 * shape.elements()), 4 * shape.elements() as u64);
        Self { buffer, third, offsets: offsets.collect() }
    }

    /// An optimizer whose gradients are in the second third.
    fn optimizer(&self, gpu: &Gpu, shape: &Shape) -> Optimizer {
        let param = |(index, &len): (usize, &usize)| {
            let (param, grad) = (self.offsets[index], self.third + self.offsets[index]);
            let (param, grad) = ((&self.buffer, param), (&self.buffer, grad));
            Param::new(index.to_string(), len).buffers(param, grad)
        };
        let params: Vec<_> = shape.tensors.iter().enumerate().map(param).collect();
        let builder = Optimizer::builder().group(rule("adam"), params);
        builder.build(&gpu.device, &gpu.queue).expect("the tensors fit the device")
    }

    /// All parameters, with their gradients in this third.
    fn places(&self, ids: &[ParamId], third: u64) -> Vec<(ParamId, Place)> {
        let place = |(&id, &offset): (&ParamId, &u64)| {
            let grad = (&self.buffer, third * self.third + offset);
            (id, Place::new((&self.buffer, offset), grad))
        };
        ids.iter().zip(&self.offsets).map(place).collect()
    }
}

/// A step with clipping, unscaling and skipping on the GPU.
fn controlled(bench: &mut Bench, shape: &Shape) {
    let around = |builder: Builder| builder.clip_grad_norm(1.0).grad_scaler(GradScaler::default());
    let adam = rule("adam");
    let mut optimizer = built_with(&bench.gpu, shape, adam.as_ref(), Placement::Arena, around);
    let dispatches = optimizer.dispatches().expect("prepared");
    measure(bench, shape, "arena, clip, unscale, skip", dispatches, &mut optimizer);
}

fn by_hand(bench: &mut Bench, shape: &Shape, how: &str, calls: Calls) {
    let mut by_hand = ByHand::new(&bench.gpu, shape, calls);
    measure(bench, shape, how, shape.tensors.len(), &mut by_hand);
}

fn measure(
    bench: &mut Bench,
    shape: &Shape,
    how: &str,
    dispatches: usize,
    kernel: &mut dyn Kernel,
) {
    let steps = if bench.quick { 2 } else { 200 };
    let (mut times, mut finishes, mut allocations) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..WARM_UP + steps {
        let mut encoder = bench.gpu.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        let start = Instant::now();
        let allocated = allocation_counter::measure(|| kernel.record(&mut pass));
        let recorded = start.elapsed();
        drop(pass);
        let commands = encoder.finish();
        let finished = start.elapsed();
        bench.gpu.queue.submit([commands]);
        // A device that computes on the CPU would compete with the next recording for a core.
        bench.gpu.wait();
        if step >= WARM_UP {
            times.push(recorded.as_secs_f64() * 1e6);
            finishes.push(finished.as_secs_f64() * 1e6);
            allocations.push(allocated.count_total as f64);
        }
    }
    let mut number = |what: &str, value, unit| {
        bench.record.number(&format!("{what}, {how}"), &shape.name, value, unit);
    };
    number("record a step", median(&times), "us");
    number("record a step, a dispatch", median(&times) / dispatches as f64, "us");
    number("record a step, to the finished commands", median(&finishes), "us");
    number("allocations in recording a step", median(&allocations), "");
}
