//! Kernels that do the same work, timed in turn, so that what else the machine does slows them all.

use super::clock::{self, Kernel};
use super::gpu::Gpu;
use super::report::median;
use std::time::Duration;

/// A kernel and what to call it.
pub struct Contestant {
    name: &'static str,
    bytes_per_element: usize,
    kernel: Box<dyn Kernel>,
}

impl Contestant {
    pub fn new(
        name: &'static str,
        bytes_per_element: usize,
        kernel: impl Kernel + 'static,
    ) -> Self {
        Self { name, bytes_per_element, kernel: Box::new(kernel) }
    }
}

/// Contestants and their times so far.
#[derive(Default)]
pub struct Interleaved {
    contestants: Vec<Contestant>,
    /// By round and contestant, in seconds.
    rounds: Vec<Vec<f64>>,
}

impl Interleaved {
    pub fn new(contestants: Vec<Contestant>) -> Self {
        Self { contestants, rounds: Vec::new() }
    }

    /// Lets each contestant take a step in each round; how long all took.
    pub fn run(&mut self, gpu: &Gpu, rounds: u64) -> Duration {
        let mut total = Duration::ZERO;
        for _ in 0..rounds {
            let step = |contestant: &mut Contestant| {
                let time = one_step(gpu, contestant.kernel.as_mut());
                total += time;
                time.as_secs_f64()
            };
            self.rounds.push(self.contestants.iter_mut().map(step).collect());
        }
        total
    }

    /// Prints each contestant's speed, and how many times as fast as the last one it is: the median of
    /// the ratios of times from one round.
    pub fn print(&self, elements: usize) {
        let Some(last) = self.contestants.len().checked_sub(1) else { return };
        println!("\nAdam, {elements} elements, medians of {} rounds\n", self.rounds.len());
        println!("{:<36} {:>9} {:>7} {:>14}", "interleaved", "ms/step", "GB/s", "relative speed");
        for (index, contestant) in self.contestants.iter().enumerate() {
            let times: Vec<_> = self.rounds.iter().map(|round| round[index]).collect();
            let ratios: Vec<_> = self.rounds.iter().map(|r| r[last] / r[index]).collect();
            let bytes = (elements * contestant.bytes_per_element) as f64;
            println!(
                "{:<36} {:>9.2} {:>7.2} {:>14.2}",
                contestant.name,
                median(&times) * 1e3,
                bytes / median(&times) / 1e9,
                median(&ratios)
            );
        }
    }
}

/// By the device's clock, or by the wall's where it has none.
fn one_step(gpu: &Gpu, kernel: &mut dyn Kernel) -> Duration {
    match &gpu.timestamps {
        Some(timestamps) => clock::timestamps(gpu, timestamps, 1, kernel),
        None => clock::wall(gpu, 1, kernel),
    }
}
