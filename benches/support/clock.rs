//! The clocks that time a kernel: the wall's and the device's.

use super::gpu::{Gpu, STEPS_IN_FLIGHT, Timestamps};
use std::time::{Duration, Instant};
use wgpu_optim::{Optimizer, wgpu};

/// What a benchmark records into a compute pass and times.
pub trait Kernel {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>);
}

impl Kernel for Optimizer {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.step_in_pass(pass).expect("room for the steps in flight");
    }
}

/// A training loop's view: each step is recorded and submitted alone, as new gradients need it, and
/// the loop waits only now and then.
pub fn wall(gpu: &Gpu, steps: u64, kernel: &mut dyn Kernel) -> Duration {
    let start = Instant::now();
    for step in 0..steps {
        submit(gpu, kernel, None);
        if (step + 1).is_multiple_of(STEPS_IN_FLIGHT.into()) {
            gpu.wait();
        }
    }
    gpu.wait();
    start.elapsed()
}

/// One step from an idle device to an idle device, in seconds: what PyTorch's peers measure too.
pub fn latency(gpu: &Gpu, kernel: &mut dyn Kernel) -> f64 {
    wall(gpu, 1, kernel).as_secs_f64()
}

/// Seconds a step by the device's clock, or by the wall's where it has none.
pub fn device(gpu: &Gpu, steps: u64, kernel: &mut dyn Kernel) -> f64 {
    let time = match &gpu.timestamps {
        Some(timestamps) => self::timestamps(gpu, timestamps, steps, kernel),
        None => wall(gpu, steps, kernel),
    };
    time.as_secs_f64() / steps as f64
}

/// The device's view: only the passes, without recording, submitting and waiting.
///
/// A small step takes the device far less than a submission takes the host, so of many steps only
/// some are run, and stand for all.
pub fn timestamps(
    gpu: &Gpu,
    timestamps: &Timestamps,
    steps: u64,
    kernel: &mut dyn Kernel,
) -> Duration {
    const MOST_ROUNDS: u64 = 16;
    let in_flight = steps.min(STEPS_IN_FLIGHT.into());
    let rounds = steps.div_ceil(in_flight).min(MOST_ROUNDS);
    let ticks: u64 = (0..rounds).map(|_| round(gpu, timestamps, in_flight as u32, kernel)).sum();
    let nanoseconds = ticks as f64 * timestamps.nanoseconds_per_tick;
    let share = steps as f64 / (rounds * in_flight) as f64;
    Duration::from_nanos((nanoseconds * share) as u64)
}

/// The ticks that some steps take in all.
fn round(gpu: &Gpu, timestamps: &Timestamps, steps: u32, kernel: &mut dyn Kernel) -> u64 {
    for step in 0..steps {
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: &timestamps.queries,
            beginning_of_pass_write_index: Some(2 * step),
            end_of_pass_write_index: Some(2 * step + 1),
        };
        submit(gpu, kernel, Some(writes));
    }
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    encoder.resolve_query_set(&timestamps.queries, 0..2 * steps, &timestamps.resolved, 0);
    gpu.queue.submit([encoder.finish()]);
    let ticks: Vec<u64> = gpu.read(&[timestamps.resolved.slice(..)]);
    let passes = ticks.chunks_exact(2).take(steps as usize);
    passes.map(|pass| pass[1].saturating_sub(pass[0])).sum()
}

fn submit(
    gpu: &Gpu,
    kernel: &mut dyn Kernel,
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
) {
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
    kernel.record(&mut encoder.begin_compute_pass(&descriptor));
    gpu.queue.submit([encoder.finish()]);
}
