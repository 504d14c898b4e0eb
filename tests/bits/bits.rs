//! Prints a hash of the bits that optimizers compute, a line per case and step:
//! `CASE <tab> step <tab> hash`. `scripts/compare-bits` runs it on two commits and compares. It
//! copies `old.rs` or `new.rs` to `api.rs`, the part that depends on the commit. It is not called
//! `main.rs`, since Cargo would take that for a test.
//!
//! Arguments, which may be left out: the folder that holds the golden cases' folders, and a text
//! that the names of the cases to run contain.

mod api;
mod cases;
mod cpu;
mod data;
mod golden;
mod gpu;
mod hash;
mod rules;
mod subject;

use cases::{Case, Way};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn main() {
    let mut args = std::env::args().skip(1);
    let tests = args.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests").into());
    let wanted = args.next().unwrap_or_default();
    let mut cases = all_cases(&PathBuf::from(tests));
    cases.retain(|case| case.name.contains(&wanted));
    let mut out = std::io::stdout().lock();
    for text in run(&cases) {
        out.write_all(text.as_bytes()).expect("written");
    }
}

fn all_cases(tests: &std::path::Path) -> Vec<Case> {
    let gpus = gpu::Gpu::all();
    let (on_cpus, on_gpus) = (Way::on_cpus(), Way::on_gpus(&gpus));
    let golden_ways: Vec<_> = on_cpus.iter().chain(&on_gpus[..1]).cloned().collect();
    let mut all = cases::cases(&on_cpus);
    all.extend(cases::cases(&on_gpus));
    all.extend(golden::rule_cases(tests, &golden_ways));
    all.extend(golden::control_cases(tests, &golden_ways));
    all
}

/// Runs cases on all threads; their lines, in the cases' order.
fn run(cases: &[Case]) -> Vec<String> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(vec![String::new(); cases.len()]));
    let work = || {
        while let Some((index, case)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            cases.get(index).map(|case| (index, case))
        } {
            let lines = lines(case);
            done.lock().expect("no thread panicked")[index] = lines;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    done.into_inner().expect("no thread panicked")
}

/// The lines of a case; a case that panics has one that says so, and the rest go on.
fn lines(case: &Case) -> String {
    let Ok(lines) = catch_unwind(AssertUnwindSafe(|| (case.run)())) else {
        return format!("{}\t0\tpanicked\n", case.name);
    };
    let line = |(part, step, hash)| format!("{}{part}\t{step}\t{hash:016x}\n", case.name);
    lines.into_iter().map(line).collect()
}
