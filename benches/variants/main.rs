//! Adam's kernel written in different ways, each in turns with the crate's step: what a change of
//! the crate's kernel would gain on this device.
//!
//! ```text
//! cargo bench --bench variants
//! BENCH_ELEMENTS=134217728 …      another size, a multiple of 1048576
//! BENCH_RECORD=benches/record …   write a record into a folder
//! ```
//!
//! The results of every variant are checked before it is timed. Most variants change one option;
//! `variant.rs` lists them. `benches/NOTES.md` has the findings.

mod kernel;
#[path = "../support/mod.rs"]
mod support;
mod variant;

use kernel::{Arrays, VariantKernel};
use std::process::ExitCode;
use support::bench::Bench;
use support::clock;
use support::record::Subject;
use support::shapes::Shape;
use support::stats::median;
use support::turns::{Contestant, take};
use support::workload::{Placement, bytes_held, checked, ours, rule};

fn main() -> ExitCode {
    let mut bench = Bench::open();
    for elements in sizes(&bench) {
        let shape = Shape::one(elements);
        let held = 3 * bytes_held(rule("adam").as_ref(), &shape);
        if bench.fits(&shape.name, held) {
            bench.guarded(&shape.name, 0.6, |bench| compare(bench, &shape));
        }
    }
    print(&bench);
    bench.finish()
}

fn sizes(bench: &Bench) -> Vec<usize> {
    if let Ok(sizes) = std::env::var("BENCH_ELEMENTS") {
        return sizes
            .split(',')
            .map(|s| s.parse().expect("BENCH_ELEMENTS must be numbers"))
            .collect();
    }
    match (bench.quick, bench.gpu.is_software()) {
        (true, _) => vec![1 << 18],
        (false, true) => vec![1 << 24],
        (false, false) => vec![1 << 24, 1 << 27],
    }
}

fn compare(bench: &mut Bench, shape: &Shape) {
    let gpu = &bench.gpu;
    let steps = if gpu.is_software() { 1 } else { 8 };
    let adam = rule("adam");
    let mut optimizer = checked(gpu, shape, adam.as_ref(), Placement::Arena);
    let own = ours(adam.as_ref(), shape, "arena");
    let mut contestants =
        vec![Contestant::new(own.clone(), move || clock::device(gpu, steps, &mut optimizer))];
    let arrays = Arrays::new(gpu, shape.elements());
    let (variants, unsupported): (Vec<_>, Vec<_>) =
        variant::all().into_iter().partition(|variant| variant.runs_on(gpu, shape.elements()));
    for variant in variants {
        let subject = Subject {
            peer: "variant".into(),
            rule: String::new(),
            implementation: variant.name(),
            ..own.clone()
        };
        let mut kernel = VariantKernel::checked(gpu, &arrays, shape, variant);
        contestants.push(Contestant::new(subject, move || clock::device(gpu, steps, &mut kernel)));
    }
    let lines = take(bench, "device clock", contestants);
    bench.record.lines.extend(lines);
    unsupported.iter().for_each(|v| println!("Not supported here: {}, {}", v.name(), shape.name));
}

/// Prints the variants, sorted by their speed.
fn print(bench: &Bench) {
    println!("GPU: {}", bench.gpu.name());
    println!("\n{:<10} {:<46} {:>10}  of the crate's speed", "shape", "variant", "ms");
    let mut lines: Vec<_> = bench.record.lines.iter().collect();
    let speed = |line: &serde_json::Value| {
        let ratio = &line["ratios"]["wgpu-optim adam arena"];
        [0, 1, 2].map(|k| ratio[k].as_f64().unwrap_or(1.0))
    };
    lines.sort_by(|a, b| {
        let key = |line| (support::report::text(line, "shape").to_owned(), -median(&speed(line)));
        key(a).partial_cmp(&key(b)).expect("numbers")
    });
    for line in lines {
        let [ratio, low, high] = speed(line);
        println!(
            "{:<10} {:<46} {:>10.4}  {ratio:.3} ({low:.3} to {high:.3})",
            support::report::text(line, "shape"),
            support::report::label(line),
            line["ms_median"].as_f64().unwrap_or(f64::NAN),
        );
    }
}
