//! From `build` to the first step.

use super::support::bench::Bench;
use super::support::clock;
use super::support::shapes::Shape;
use super::support::stats::median;
use super::support::workload::{Placement, built, main_rules};
use std::time::Instant;

/// Optimizers of a model of 1000 tensors; medians, since drivers cache what they compiled.
pub fn start(bench: &mut Bench) {
    let runs = if bench.quick { 1 } else { 5 };
    let shape = if bench.quick { Shape::many(10, 260) } else { Shape::many(1000, 4096) };
    for rule in main_rules() {
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..runs {
            let start = Instant::now();
            let mut optimizer = built(&bench.gpu, &shape, rule.as_ref(), Placement::Arena);
            times[0].push(start.elapsed().as_secs_f64() * 1e3);
            times[1].push(clock::latency(&bench.gpu, &mut optimizer) * 1e3);
            times[2].push(clock::latency(&bench.gpu, &mut optimizer) * 1e3);
        }
        for (what, times) in ["build", "first step", "second step"].iter().zip(&times) {
            let measure = format!("start-up, {}: {what}", rule.name());
            bench.record.number(&measure, &shape.name, median(times), "ms");
        }
    }
}
