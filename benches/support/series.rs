//! Series under criterion: one case by one clock.

use super::bench::{Bench, SAMPLES};
use super::clock::{self, Kernel};
use super::record::Subject;
use criterion::{BenchmarkId, SamplingMode, Throughput};
use std::time::{Duration, Instant};

/// By whom a case is stepped, and by which clock.
pub const CPU_SERIAL: &str = "CPU serial";
pub const CPU_PARALLEL: &str = "CPU parallel";
pub const GPU_WALL: &str = "GPU wall clock";
pub const GPU_TIMESTAMPS: &str = "GPU timestamps";

impl Bench {
    /// One series: `steps` takes a number of steps and says how long they took.
    ///
    /// It is not called at all if criterion's filter leaves the series out.
    pub fn series(
        &mut self,
        subject: &Subject,
        series: &'static str,
        mut steps: impl FnMut(&Self, u64) -> Duration,
    ) {
        let mut samples = Vec::new();
        let mut criterion = std::mem::take(&mut self.criterion);
        let name = format!("{}/{}", subject.label(), subject.shape);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(subject.elements as u64));
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(BenchmarkId::from_parameter(series), |bencher| {
            bencher.iter_custom(|count| {
                let elapsed = steps(self, count);
                samples.push(elapsed.as_secs_f64() / count as f64);
                elapsed
            });
        });
        group.finish();
        self.criterion = criterion;
        if !samples.is_empty() {
            // The calls before the last ones warm up.
            samples.drain(..samples.len().saturating_sub(SAMPLES));
            self.record.lines.push(subject.line(series, &samples));
        }
    }

    /// A kernel's series, one for each clock.
    pub fn gpu_series<K: Kernel>(&mut self, subject: &Subject, make: impl Fn(&Self) -> K) {
        let mut kernel = None;
        self.series(subject, GPU_WALL, |bench, count| {
            clock::wall(&bench.gpu, count, kernel.get_or_insert_with(|| make(bench)))
        });
        if self.gpu.timestamps.is_some() {
            self.series(subject, GPU_TIMESTAMPS, |bench, count| {
                let timestamps = bench.gpu.timestamps.as_ref().expect("seen above");
                let kernel = kernel.get_or_insert_with(|| make(bench));
                clock::timestamps(&bench.gpu, timestamps, count, kernel)
            });
        }
    }
}

/// How long something takes that is done so many times.
pub fn time(count: u64, mut step: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| step());
    start.elapsed()
}
