//! Runs series under criterion, and prints the table of them all.

use super::gpu::Gpu;
use criterion::{BenchmarkId, Criterion, Throughput};
use std::time::Duration;

/// Samples that criterion takes of a series.
pub const SAMPLES: usize = 10;

/// What is stepped.
#[derive(Clone, PartialEq)]
pub struct Case {
    pub name: String,
    pub elements: usize,
    /// Bytes that a step must at least read and write for each element.
    pub bytes_per_element: usize,
}

/// By whom it is stepped, and by which clock.
pub const CPU_SERIAL: &str = "CPU serial";
pub const CPU_PARALLEL: &str = "CPU parallel";
pub const GPU_WALL: &str = "GPU wall clock";
pub const GPU_TIMESTAMPS: &str = "GPU timestamps";

/// The case that all others are measured against.
pub const COPY: &str = "copy";

pub struct Report {
    pub criterion: Criterion,
    rows: Vec<Row>,
}

struct Row {
    case: Case,
    series: &'static str,
    /// Seconds a step, by sample.
    samples: Vec<f64>,
}

impl Report {
    pub fn new() -> Self {
        let criterion = Criterion::default()
            .sample_size(SAMPLES)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_millis(800))
            .without_plots()
            .configure_from_args();
        Self { criterion, rows: Vec::new() }
    }

    /// One series: `steps` takes a number of steps and says how long they took.
    ///
    /// It is not called at all if criterion's filter leaves the series out.
    pub fn series(
        &mut self,
        case: &Case,
        series: &'static str,
        mut steps: impl FnMut(u64) -> Duration,
    ) {
        let mut samples = Vec::new();
        let mut group = self.criterion.benchmark_group(&case.name);
        group.throughput(Throughput::Elements(case.elements as u64));
        group.bench_function(BenchmarkId::new(series, case.elements), |bencher| {
            bencher.iter_custom(|count| {
                let elapsed = steps(count);
                samples.push(elapsed.as_secs_f64() / count as f64);
                elapsed
            });
        });
        group.finish();
        if !samples.is_empty() {
            // The calls before the last ones warm up.
            samples.drain(..samples.len().saturating_sub(SAMPLES));
            self.rows.push(Row { case: case.clone(), series, samples });
        }
    }

    /// Prints every series' speed, and what share it is of the copy's of the same size on the same
    /// clock.
    pub fn print(&self, gpu: &Gpu) {
        self.criterion.final_summary();
        println!("GPU: {}", gpu_name(gpu));
        println!("CPU: {} threads", rayon::current_num_threads());
        println!("Medians of {SAMPLES} samples\n");
        println!(
            "{:<28} {:>9}  {:<14} {:>11} {:>10} {:>7} {:>8}",
            "case", "elements", "series", "µs/step", "Mparam/s", "GB/s", "of copy"
        );
        for row in &self.rows {
            let share = self.copy_of(row).map_or("-".into(), |copy| {
                format!("{:.2}", row.bytes_per_second() / copy.bytes_per_second())
            });
            println!(
                "{:<28} {:>9}  {:<14} {:>11.1} {:>10.1} {:>7.2} {:>8}",
                row.case.name,
                row.case.elements,
                row.series,
                row.median() * 1e6,
                row.case.elements as f64 / row.median() / 1e6,
                row.bytes_per_second() / 1e9,
                share
            );
        }
    }

    fn copy_of(&self, row: &Row) -> Option<&Row> {
        self.rows.iter().find(|copy| {
            copy.case.name == COPY
                && copy.case.elements == row.case.elements
                && copy.series == row.series
        })
    }
}

impl Row {
    fn median(&self) -> f64 {
        median(&self.samples)
    }

    fn bytes_per_second(&self) -> f64 {
        (self.case.elements * self.case.bytes_per_element) as f64 / self.median()
    }
}

/// The device, its driver and the backend that reaches it.
fn gpu_name(gpu: &Gpu) -> String {
    let wgpu_optim::wgpu::AdapterInfo { name, driver, driver_info, backend, .. } = &gpu.info;
    format!("{name}, driver {driver} {driver_info}, {backend}")
}

pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}
