//! The time from `build` to the first step.

use super::support::bench::Bench;
use super::support::clock;
use super::support::gpu::Gpu;
use super::support::shapes::Shape;
use super::support::stats::median;
use super::support::workload::{Placement, built_with, main_rules};
use std::time::Instant;
use wgpu_optim::{Builder, DynRule, wgpu};
use wgpu_optim_bench_unchecked::create_pipeline_cache;

/// Optimizers of a model with 1000 tensors. Medians, since drivers cache compiled pipelines.
pub fn start(bench: &mut Bench) {
    let shape = if bench.quick { Shape::many(10, 260) } else { Shape::many(1000, 4096) };
    for rule in main_rules() {
        measure(bench, &shape, rule.as_ref(), "", |builder| builder);
        if let Some(cache) = filled_cache(&bench.gpu, &shape, rule.as_ref()) {
            let around = |builder: Builder| builder.pipeline_cache(&cache);
            measure(bench, &shape, rule.as_ref(), ", pipeline cache", around);
        }
    }
}

fn measure(
    bench: &mut Bench,
    shape: &Shape,
    rule: &dyn DynRule,
    how: &str,
    around: impl Fn(Builder) -> Builder,
) {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..if bench.quick { 1 } else { 5 } {
        let start = Instant::now();
        let mut optimizer = built_with(&bench.gpu, shape, rule, Placement::Arena, &around);
        times[0].push(start.elapsed().as_secs_f64() * 1e3);
        times[1].push(clock::latency(&bench.gpu, &mut optimizer) * 1e3);
        times[2].push(clock::latency(&bench.gpu, &mut optimizer) * 1e3);
    }
    for (what, times) in ["build", "first step", "second step"].iter().zip(&times) {
        let name = format!("start-up, {}{how}: {what}", rule.name());
        bench.record.number(&name, &shape.name, median(times), "ms");
    }
}

/// A cache as in a later process of the application: with the data of an earlier cache.
fn filled_cache(gpu: &Gpu, shape: &Shape, rule: &dyn DynRule) -> Option<wgpu::PipelineCache> {
    let has_caches = gpu.device.features().contains(wgpu::Features::PIPELINE_CACHE);
    let cache = has_caches.then(|| create_pipeline_cache(&gpu.device, None))?;
    let around = |builder: Builder| builder.pipeline_cache(&cache);
    let mut optimizer = built_with(gpu, shape, rule, Placement::Arena, around);
    clock::latency(gpu, &mut optimizer);
    Some(create_pipeline_cache(&gpu.device, Some(&cache.get_data()?)))
}
