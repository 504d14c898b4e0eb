//! The clocks that time a kernel: the wall clock and the device's.

use super::gpu::{Gpu, STEPS_IN_FLIGHT, Timestamps};
use std::time::{Duration, Instant};
use wgpu_optim::{Optimizer, wgpu};

/// Something that a benchmark records into a compute pass and times.
pub trait Kernel {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>);
}

impl Kernel for Optimizer {
    fn record(&mut self, pass: &mut wgpu::ComputePass<'_>) {
        self.step_in_pass(pass).expect("recorded");
    }
}

/// The time in a training loop: each step has its own submission, since each needs new gradients,
/// and the loop waits only after several.
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

/// Seconds from recording one step on an idle device until the device is idle again, as
/// `torch_step.py` measures them.
pub fn latency(gpu: &Gpu, kernel: &mut dyn Kernel) -> f64 {
    wall(gpu, 1, kernel).as_secs_f64()
}

/// Seconds for each step, by the device's clock, or by the wall clock if it has none.
pub fn device(gpu: &Gpu, steps: u64, kernel: &mut dyn Kernel) -> f64 {
    let time = match &gpu.timestamps {
        Some(timestamps) => self::timestamps(gpu, timestamps, steps, kernel),
        None => wall(gpu, steps, kernel),
    };
    time.as_secs_f64() / steps as f64
}

/// The time of the compute passes alone, without recording, submitting and waiting.
///
/// A small step takes far less time on the device than its submission takes on the host. So of many
/// steps only some are run, and their time is extrapolated.
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

/// The total ticks of some steps.
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
