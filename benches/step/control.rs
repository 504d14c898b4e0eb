//! The cost of clipping, unscaling, skipping and statistics.

use super::against::{DEVICE, LATENCY, timed};
use super::support::bench::Bench;
use super::support::shapes::Shape;
use super::support::turns::{Contestant, take};
use super::support::workload::{Placement, checked_with, ours, rule};
use wgpu_optim::{Builder, GradScaler};

/// Larger than any norm here, so that the results are those of a plain step.
const NO_LIMIT: f64 = 1e30;

type Around = fn(Builder) -> Builder;

/// The control around a step.
const AROUND: [(&str, Around); 4] = [
    ("plain", |builder| builder),
    ("clip, unscale, skip", controlled),
    ("clip by value", |builder| builder.clip_grad_value(NO_LIMIT)),
    ("clip, unscale, skip, statistics", |builder| controlled(builder).statistics()),
];

fn controlled(builder: Builder) -> Builder {
    builder.clip_grad_norm(NO_LIMIT).grad_scaler(GradScaler::constant(1.0))
}

/// Adam with and without control, in turns: one large tensor, and many.
pub fn control(bench: &mut Bench) {
    let shapes = match bench.quick {
        true => [Shape::one(4096), Shape::many(10, 260)],
        false => [Shape::one(1 << 24), Shape::many(1000, 4096)],
    };
    for shape in &shapes {
        for clock in [DEVICE, LATENCY] {
            let contestants =
                AROUND.map(|(name, around)| contestant(bench, shape, clock, name, around));
            let lines = take(bench, clock, contestants.into());
            bench.record.lines.extend(lines);
        }
    }
}

fn contestant<'a>(
    bench: &'a Bench,
    shape: &Shape,
    clock: &str,
    name: &str,
    around: Around,
) -> Contestant<'a> {
    let (gpu, adam) = (&bench.gpu, rule("adam"));
    let optimizer = checked_with(gpu, shape, adam.as_ref(), Placement::Arena, around);
    timed(gpu, ours(adam.as_ref(), shape, name), optimizer, clock)
}
