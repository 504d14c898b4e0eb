//! Very many tensors of three elements: what a tensor costs beside its elements, on the host and on
//! the device.

use super::support::bench::Bench;
use super::support::gpu::Gpu;
use super::support::shapes::Shape;
use super::support::stats::median;
use super::support::workload::{Placement, built_with, rule};
use std::time::Instant;
use wgpu_optim::{Builder, Optimizer};

const LEN: usize = 3;

/// Steps timed, after a few that warm up.
const STEPS: usize = 9;
const WARM_UP: usize = 3;

/// Adam with more and more tensors, and with their elements in one.
pub fn many(bench: &mut Bench) {
    let counts: &[usize] = if bench.quick { &[10] } else { &[1000, 10_000, 100_000] };
    for &count in counts {
        measure(bench, &Shape::many(count, LEN));
        measure(bench, &Shape::one(count * LEN));
    }
}

fn measure(bench: &mut Bench, shape: &Shape) {
    let gpu = &bench.gpu;
    let adam = rule("adam");
    let built = |around: fn(Builder) -> Builder| {
        let start = Instant::now();
        let optimizer = built_with(gpu, shape, adam.as_ref(), Placement::Arena, around);
        (optimizer, milliseconds(start))
    };
    let (mut plain, build) = built(|builder| builder);
    let times = [stepped(gpu, &mut plain), changed(gpu, &mut plain)];
    let (mut clipped, _) = built(|builder| builder.clip_grad_norm(1.0));
    let (mut watched, _) = built(|builder| builder.statistics());
    let around = [stepped(gpu, &mut clipped), stepped(gpu, &mut watched)];
    let mut number = |what: &str, value| bench.record.number(what, &shape.name, value, "ms");
    number("build", build);
    number("a step, to its end", times[0]);
    number("freeze a tensor and record a step", times[1]);
    number("a step that clips, to its end", around[0]);
    number("a step with statistics, to its end", around[1]);
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// The median time of a step, from its first call until the device is idle.
fn stepped(gpu: &Gpu, optimizer: &mut Optimizer) -> f64 {
    let times = (0..WARM_UP + STEPS).map(|_| step(gpu, optimizer)[1]);
    median(&times.skip(WARM_UP).collect::<Vec<_>>())
}

/// The median time of recording a step after another tensor was frozen or thawed.
fn changed(gpu: &Gpu, optimizer: &mut Optimizer) -> f64 {
    let first = optimizer.params().next().expect("there is one").id;
    let times = (0..STEPS).map(|turn| {
        let start = Instant::now();
        optimizer.set_frozen([first], turn % 2 == 0).expect("known");
        let change = milliseconds(start);
        change + step(gpu, optimizer)[0]
    });
    median(&times.collect::<Vec<_>>())
}

/// The times until a step is recorded, and until it has run.
fn step(gpu: &Gpu, optimizer: &mut Optimizer) -> [f64; 2] {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let start = Instant::now();
    optimizer.step(&mut encoder).expect("recorded");
    let recorded = milliseconds(start);
    gpu.queue.submit([encoder.finish()]);
    gpu.wait();
    [recorded, milliseconds(start)]
}
