//! Series measured with criterion: one case by one clock.

use super::bench::{Bench, SAMPLES};
use super::clock::{self, Kernel};
use super::record::Subject;
use criterion::{BenchmarkId, SamplingMode, Throughput};
use std::time::{Duration, Instant};

/// The names of series: where the steps run, and by which clock they are timed.
pub const CPU_SERIAL: &str = "CPU serial";
pub const CPU_PARALLEL: &str = "CPU parallel";
pub const GPU_WALL: &str = "GPU wall clock";
pub const GPU_TIMESTAMPS: &str = "GPU timestamps";

impl Bench {
    /// One series: `steps` takes a number of steps with what `make` returned, and returns how long
    /// they took. `make` is not called if `prepared` has a value from another series.
    ///
    /// Neither is called if criterion's filter excludes the series.
    pub fn series<K>(
        &mut self,
        subject: &Subject,
        series: &'static str,
        prepared: &mut Option<K>,
        make: impl Fn(&Self) -> K,
        mut steps: impl FnMut(&Self, &mut K, u64) -> Duration,
    ) {
        let mut samples = Vec::new();
        let mut criterion = std::mem::take(&mut self.criterion);
        let name = format!("{}/{}", subject.label(), subject.shape);
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(subject.elements as u64));
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(BenchmarkId::from_parameter(series), |bencher| {
            // Outside the timed part: criterion plans samples by the duration of the first steps.
            let prepared = prepared.get_or_insert_with(|| make(self));
            bencher.iter_custom(|count| {
                let elapsed = steps(self, prepared, count);
                samples.push(elapsed.as_secs_f64() / count as f64);
                elapsed
            });
        });
        group.finish();
        self.criterion = criterion;
        if !samples.is_empty() {
            // The calls before the last ones were warm-up.
            samples.drain(..samples.len().saturating_sub(SAMPLES));
            self.record.lines.push(subject.line(series, &samples));
        }
    }

    /// A kernel's series, one for each clock.
    pub fn gpu_series<K: Kernel>(&mut self, subject: &Subject, make: impl Fn(&Self) -> K) {
        let mut kernel = None;
        self.series(subject, GPU_WALL, &mut kernel, &make, |bench, kernel, count| {
            clock::wall(&bench.gpu, count, kernel)
        });
        if self.gpu.timestamps.is_some() {
            self.series(subject, GPU_TIMESTAMPS, &mut kernel, &make, |bench, kernel, count| {
                let timestamps = bench.gpu.timestamps.as_ref().expect("checked above");
                clock::timestamps(&bench.gpu, timestamps, count, kernel)
            });
        }
    }

    /// The series on the CPU, serial and parallel.
    pub fn cpu_series<K>(
        &mut self,
        subject: &Subject,
        make: impl Fn() -> K,
        mut serial: impl FnMut(&mut K),
        mut parallel: impl FnMut(&mut K),
    ) {
        let mut prepared = None;
        let make = |_: &Self| make();
        self.series(subject, CPU_SERIAL, &mut prepared, make, |_, k, count| {
            time(count, || serial(k))
        });
        self.series(subject, CPU_PARALLEL, &mut prepared, make, |_, k, count| {
            time(count, || parallel(k))
        });
    }
}

/// The time of this many calls.
pub fn time(count: u64, mut step: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| step());
    start.elapsed()
}
