//! Steps of arrays in 16 and 8 bits, in turns with f32 and with a copy.

use super::against::{DEVICE, steps_a_turn, timed};
use super::support::bench::Bench;
use super::support::clock;
use super::support::copy::{GpuCopy, elements_that_move};
use super::support::record::Subject;
use super::support::shapes::Shape;
use super::support::targets::FORMATS;
use super::support::turns::{Contestant, take};
use super::support::values::{self, GRADIENTS, PARAMETERS};
use super::support::workload::{Placement, built_with, ours, rule};
use wgpu_optim::{Format, Optimizer, Rounding, Storage};

/// Elements of the series.
const LEN: usize = 1 << 22;

/// A format, by what records and targets call it.
fn storage(name: &str) -> Storage {
    match name {
        "bf16 remainder" => Storage::bf16(Rounding::Remainder),
        "bf16 stochastic" => Storage::bf16(Rounding::Stochastic { seed: 1 }),
        "f16 master" => Storage::f16(Rounding::Master),
        "bf16 all" => Storage::bf16(Rounding::Nearest).states(Format::Bf16),
        "f32, 8-bit states" => Storage::f32().states(Format::Block8),
        "bf16 remainder, 8-bit states" => Storage::bf16(Rounding::Remainder).states(Format::Block8),
        "f32" => Storage::f32(),
        _ => panic!("no storage is called {name}"),
    }
}

/// AdamW in each format, in f32, and a copy of as many bytes as f32 moves.
pub fn formats(bench: &mut Bench) {
    let shape = Shape::one(if bench.quick { 8192 } else { LEN });
    let elements = shape.elements();
    if !bench.fits("formats", 32 * 8 * elements as u64) {
        return;
    }
    let gpu = &bench.gpu;
    let steps = steps_a_turn(gpu);
    let copied = elements_that_move(28 * elements);
    let mut copy = GpuCopy::checked(gpu, copied);
    let timed_copy = move || clock::device(gpu, steps, &mut copy);
    let mut contestants = vec![Contestant::new(Subject::copy(copied, &shape.name), timed_copy)];
    for name in std::iter::once("f32").chain(FORMATS.map(|(name, _)| name)) {
        let optimizer = filled(bench, &shape, name);
        let adamw = rule("adamw");
        let bytes = moved(&optimizer);
        let subject = Subject { bytes, ..ours(adamw.as_ref(), &shape, name) };
        contestants.push(timed(gpu, subject, optimizer, DEVICE));
    }
    let lines = take(bench, DEVICE, contestants);
    bench.record.lines.extend(lines);
}

/// An optimizer in the arena, with numbers in all arrays.
fn filled(bench: &Bench, shape: &Shape, name: &str) -> Optimizer {
    let adamw = rule("adamw");
    let stored = |builder: wgpu_optim::Builder| builder.storage("*", storage(name));
    let mut optimizer = built_with(&bench.gpu, shape, adamw.as_ref(), Placement::Arena, stored);
    let numbers = |seed| values::tensor(seed, shape.elements());
    optimizer.set_param("0", &numbers(PARAMETERS)).expect("a known parameter");
    optimizer.set_grad("0", &numbers(GRADIENTS)).expect("a known parameter");
    optimizer
}

/// Bytes that a step reads and writes: everything held is read, and all but the gradient written.
pub fn moved(optimizer: &Optimizer) -> usize {
    let grad: u64 = optimizer.grad("0").expect("there").iter().map(|slice| slice.size()).sum();
    (2 * optimizer.bytes_held() - grad) as usize
}
