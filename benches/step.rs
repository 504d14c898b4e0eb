//! How fast steps are, on CPU and GPU.
//!
//! ```text
//! cargo bench                                  everything
//! cargo bench -- 'adam/GPU'                    the series whose names match
//! BENCH_ELEMENTS=268435456 cargo bench         other sizes, separated by commas
//! WGPU_BACKEND=vulkan WGPU_ADAPTER_NAME=…      another device
//! ```
//!
//! Every series' answer is checked before it is timed. The table at the end counts the bytes that a
//! step must move at the least: the gradient read, the parameter and each state read and written.

mod support;

use std::time::{Duration, Instant};
use support::clock::{self, Kernel};
use support::copy::{self, CpuCopy, GpuCopy};
use support::gpu::Gpu;
use support::handwritten::HandwrittenAdam;
use support::interleaved::{Contestant, Interleaved};
use support::report::{COPY, CPU_PARALLEL, CPU_SERIAL, Case, GPU_TIMESTAMPS, GPU_WALL, Report};
use support::workload::Tensors;
use wgpu_optim::{Adagrad, Adam, DynRule, RMSprop, Rule, SGD};

fn main() {
    let gpu = Gpu::open();
    let mut report = Report::new();
    let sizes = sizes();
    let many = Tensors { count: 1000, len: 4096 };
    let one = Tensors { count: 1, len: many.elements() };

    for &elements in sizes.iter().chain([&one.len]) {
        copies(&mut report, &gpu, elements);
    }
    for len in sizes {
        let tensors = Tensors { count: 1, len };
        steps(&mut report, &gpu, tensors, Adam::default());
        steps(&mut report, &gpu, tensors, RMSprop::default());
        steps(&mut report, &gpu, tensors, Adagrad::default());
        steps(&mut report, &gpu, tensors, SGD { momentum: 0.9, ..Default::default() });
    }
    for tensors in [one, many] {
        steps(&mut report, &gpu, tensors, Adam::default());
    }
    let accesses = accesses(&mut report, &gpu);
    report.print(&gpu);
    accesses.print(ACCESSES_ELEMENTS);
}

/// Numbers of elements, all multiples of 4: those asked for, or some from what fits a cache to what
/// does not.
fn sizes() -> Vec<usize> {
    match std::env::var("BENCH_ELEMENTS") {
        Ok(sizes) => {
            sizes.split(',').map(|size| size.parse().expect("BENCH_ELEMENTS: numbers")).collect()
        }
        Err(_) => vec![1 << 10, 1 << 16, 1 << 20, 1 << 24],
    }
}

/// Plain copies, the yardstick.
fn copies(report: &mut Report, gpu: &Gpu, elements: usize) {
    let case = Case { name: COPY.into(), elements, bytes_per_element: copy::BYTES_PER_ELEMENT };
    let mut cpu = None;
    report.series(&case, CPU_SERIAL, |count| {
        let copy = cpu.get_or_insert_with(|| CpuCopy::new(elements));
        time(count, || copy.serial())
    });
    report.series(&case, CPU_PARALLEL, |count| {
        let copy = cpu.get_or_insert_with(|| CpuCopy::new(elements));
        time(count, || copy.parallel())
    });
    gpu_series(report, gpu, &case, || GpuCopy::checked(gpu, elements));
}

/// A rule's steps.
fn steps<R: Rule>(report: &mut Report, gpu: &Gpu, tensors: Tensors, rule: R) {
    let name = match tensors.count {
        1 => R::NAME.into(),
        count => format!("{}, {count} tensors", R::NAME),
    };
    let bytes_per_element = bytes_per_element(&rule);
    let case = Case { name, elements: tensors.elements(), bytes_per_element };
    let mut cpu = None;
    report.series(&case, CPU_SERIAL, |count| {
        let optimizer = cpu.get_or_insert_with(|| tensors.cpu(rule.clone()));
        time(count, || optimizer.step().expect("the CPU's step"))
    });
    report.series(&case, CPU_PARALLEL, |count| {
        let optimizer = cpu.get_or_insert_with(|| tensors.cpu(rule.clone()));
        time(count, || optimizer.par_step().expect("the CPU's step"))
    });
    gpu_series(report, gpu, &case, || tensors.arena(gpu, rule.clone()));
}

/// A kernel's series, one for each clock.
fn gpu_series<K: Kernel>(report: &mut Report, gpu: &Gpu, case: &Case, make: impl Fn() -> K) {
    let mut kernel = None;
    report
        .series(case, GPU_WALL, |count| clock::wall(gpu, count, kernel.get_or_insert_with(&make)));
    if let Some(timestamps) = &gpu.timestamps {
        report.series(case, GPU_TIMESTAMPS, |count| {
            clock::timestamps(gpu, timestamps, count, kernel.get_or_insert_with(&make))
        });
    }
}

const ACCESSES_ELEMENTS: usize = 1 << 24;

/// Adam by vec4, by scalar access and by hand, in turn.
fn accesses(report: &mut Report, gpu: &Gpu) -> Interleaved {
    let tensors = Tensors { count: 1, len: ACCESSES_ELEMENTS };
    let make = || {
        let adam = Adam::default();
        let bytes = bytes_per_element(&adam);
        Interleaved::new(vec![
            Contestant::new("copy", copy::BYTES_PER_ELEMENT, GpuCopy::checked(gpu, tensors.len)),
            Contestant::new("arena, vec4", bytes, tensors.arena(gpu, adam)),
            Contestant::new("offset of 4 bytes, scalar", bytes, tensors.misaligned(gpu, adam)),
            Contestant::new("handwritten", bytes, HandwrittenAdam::checked(gpu, tensors.len)),
        ])
    };
    let mut interleaved = None;
    report.criterion.bench_function("adam accesses, interleaved", |bencher| {
        bencher.iter_custom(|rounds| interleaved.get_or_insert_with(make).run(gpu, rounds));
    });
    interleaved.unwrap_or_default()
}

/// f32 that a step reads or writes: gradient read, parameter and states read and written.
fn bytes_per_element(rule: &dyn DynRule) -> usize {
    4 * (3 + 2 * rule.states().len())
}

/// How long something takes that is done so many times.
fn time(count: u64, mut step: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| step());
    start.elapsed()
}
