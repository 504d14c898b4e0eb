//! Series measured with criterion: sizes, models, rules, each on the CPU and the GPU by both
//! clocks.

use super::support::bench::Bench;
use super::support::copy::{self, CpuCopy, GpuCopy, elements_that_move};
use super::support::record::Subject;
use super::support::shapes::{Shape, gpt2, llama, resnet50};
use super::support::workload::{
    BoxedRule, Placement, bytes_held, bytes_per_element, checked, cpu, main_rules, ours, rule,
};
use std::collections::BTreeSet;
use wgpu_optim::rules::all;

/// The most elements of series on the CPU: more take long and show nothing new.
const LARGEST_ON_CPU: usize = 1 << 26;

/// Shares of the time budget after which no more of these are started.
pub const MODELS: f64 = 0.95;
pub const SIZES: f64 = 0.8;

/// Models of many tensors, in the arena and in separate buffers.
pub fn models(bench: &mut Bench) {
    let shapes = [Shape::many(1000, 4096), resnet50(), gpt2(), Shape::many(1000, 65536), llama()];
    for mut shape in shapes {
        if bench.quick {
            shape = shape.shrunk();
        }
        let rules = if shape.name == "1000x4096" { main_rules() } else { vec![rule("adam")] };
        for rule in rules {
            for placement in [Placement::Arena, Placement::Separate] {
                gpu(bench, &shape, &rule, placement, MODELS);
            }
        }
        if is_for_cpu(bench, &shape) {
            on_cpu(bench, &shape, &rule("adam"), MODELS);
        }
    }
}

/// The main rules by size, and copies that move as many bytes.
pub fn sizes(bench: &mut Bench) {
    // Large sizes are the most informative.
    let mut sizes = selected_sizes(bench);
    sizes.sort_by_key(|&size| std::cmp::Reverse(size));
    for shape in sizes.into_iter().map(Shape::one) {
        let bytes: BTreeSet<_> =
            main_rules().iter().map(|r| bytes_per_element(r.as_ref()) * shape.elements()).collect();
        bytes.into_iter().for_each(|bytes| copies(bench, &shape, bytes));
        for rule in main_rules() {
            gpu(bench, &shape, &rule, Placement::Arena, SIZES);
            if is_for_cpu(bench, &shape) {
                on_cpu(bench, &shape, &rule, SIZES);
            }
        }
    }
}

/// Every rule at one size.
pub fn all_rules(bench: &mut Bench) {
    let shape = Shape::one(if bench.quick { 4096 } else { 1 << 24 });
    let mut known: BTreeSet<_> = main_rules().iter().map(|rule| rule.name()).collect();
    for rule in all() {
        if known.insert(rule.name()) {
            gpu(bench, &shape, &rule, Placement::Arena, 1.0);
        }
    }
}

/// Numbers of elements, all multiples of 4: those in `BENCH_ELEMENTS`, or sizes that fit caches and
/// sizes that do not.
fn selected_sizes(bench: &Bench) -> Vec<usize> {
    if let Ok(sizes) = std::env::var("BENCH_ELEMENTS") {
        return sizes
            .split(',')
            .map(|s| s.parse().expect("BENCH_ELEMENTS must be numbers"))
            .collect();
    }
    match (bench.quick, bench.gpu.is_software()) {
        (true, _) => vec![4096],
        (false, true) => vec![1 << 10, 1 << 16, 1 << 20, 1 << 24],
        (false, false) => vec![1 << 10, 1 << 16, 1 << 20, 1 << 24, 1 << 28, 1 << 30],
    }
}

/// Plain copies, the reference.
fn copies(bench: &mut Bench, shape: &Shape, bytes: usize) {
    let elements = elements_that_move(bytes);
    let implementation = format!("of {bytes} bytes");
    let subject = Subject { implementation, ..Subject::copy(elements, &shape.name) };
    let name = format!("{}, {}", subject.label(), shape.name);
    if bench.has_time(&name, SIZES)
        && bench.fits(&name, (elements * copy::BYTES_PER_ELEMENT) as u64)
    {
        bench.gpu_series(&subject, |bench| GpuCopy::checked(&bench.gpu, elements));
    }
    if !is_for_cpu(bench, shape) || !bench.has_time(&name, SIZES) {
        return;
    }
    bench.cpu_series(&subject, || CpuCopy::new(elements), CpuCopy::serial, CpuCopy::parallel);
}

/// Whether a size is measured on the CPU too. Where there is a GPU, one size is enough.
fn is_for_cpu(bench: &Bench, shape: &Shape) -> bool {
    match bench.gpu.is_software() {
        true => shape.elements() <= LARGEST_ON_CPU,
        false => shape.elements() == 1 << 24,
    }
}

fn gpu(bench: &mut Bench, shape: &Shape, rule: &BoxedRule, placement: Placement, share: f64) {
    let subject = ours(rule.as_ref(), shape, placement.name());
    let name = format!("{}, {}", subject.label(), shape.name);
    if bench.has_time(&name, share) && bench.fits(&name, bytes_held(rule.as_ref(), shape)) {
        bench.gpu_series(&subject, |b| checked(&b.gpu, shape, rule.as_ref(), placement));
    }
}

fn on_cpu(bench: &mut Bench, shape: &Shape, rule: &BoxedRule, share: f64) {
    let subject = ours(rule.as_ref(), shape, "CPU");
    let name = format!("{}, {}", subject.label(), shape.name);
    if !bench.has_time(&name, share) {
        return;
    }
    bench.cpu_series(
        &subject,
        || cpu(shape, rule.as_ref()),
        |optimizer| optimizer.step().expect("the CPU's step"),
        |optimizer| optimizer.par_step().expect("the CPU's step"),
    );
}
