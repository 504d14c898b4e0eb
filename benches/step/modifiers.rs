//! Steps of Adam with each modifier, in turns with plain Adam and with a copy.

use super::against::{DEVICE, steps_a_turn, timed};
use super::formats::moved;
use super::support::bench::Bench;
use super::support::clock;
use super::support::copy::{GpuCopy, elements_that_move};
use super::support::record::Subject;
use super::support::shapes::Shape;
use super::support::turns::{Contestant, take};
use super::support::values::{self, GRADIENTS, PARAMETERS};
use super::support::workload::{Placement, built_with, ours, rule};
use wgpu_optim::{Average, Decay, DecayKind, DynRule, Lookahead, Modifiers, Optimizer};

/// Elements of the series.
const LEN: usize = 1 << 22;

/// Each modifier by the name that records have.
fn modifiers() -> [(&'static str, Modifiers); 9] {
    let none = Modifiers::default();
    let decay = Decay::new(DecayKind::Decoupled, 0.1);
    [
        ("plain", none),
        ("decay", Modifiers { decay: Some(decay), ..none }),
        ("cautious decay", Modifiers { decay: Some(decay.cautious()), ..none }),
        ("bounds", Modifiers { bounds: Some((-1.0, 1.0)), ..none }),
        ("average", Modifiers { average: Some(Average::ema(0.999)), ..none }),
        ("lookahead", Modifiers { lookahead: Some(Lookahead::default()), ..none }),
        ("cautious", Modifiers { cautious: true, ..none }),
        ("clip_update", Modifiers { clip_update: Some(1.0), ..none }),
        ("clip_grad_tensor", Modifiers { clip_grad_tensor: Some(1.0), ..none }),
    ]
}

/// Adam with each modifier, and a copy of as many bytes as plain Adam moves.
pub fn modified(bench: &mut Bench) {
    let shape = Shape::one(if bench.quick { 8192 } else { LEN });
    let elements = shape.elements();
    if !bench.fits("modifiers", 36 * 9 * elements as u64) {
        return;
    }
    let gpu = &bench.gpu;
    let steps = steps_a_turn(gpu);
    let copied = elements_that_move(28 * elements);
    let mut copy = GpuCopy::checked(gpu, copied);
    let timed_copy = move || clock::device(gpu, steps, &mut copy);
    let mut contestants = vec![Contestant::new(Subject::copy(copied, &shape.name), timed_copy)];
    for (name, modifiers) in modifiers() {
        let rule = modifiers.on(rule("adam"));
        let optimizer = filled(bench, &shape, rule.as_ref());
        let bytes = moved(&optimizer);
        let subject = Subject { bytes, ..ours(rule.as_ref(), &shape, name) };
        contestants.push(timed(gpu, subject, optimizer, DEVICE));
    }
    let lines = take(bench, DEVICE, contestants);
    bench.record.lines.extend(lines);
}

/// An optimizer in the arena, with numbers in parameter and gradient.
fn filled(bench: &Bench, shape: &Shape, rule: &dyn DynRule) -> Optimizer {
    let mut optimizer = built_with(&bench.gpu, shape, rule, Placement::Arena, |builder| builder);
    let numbers = |seed| values::tensor(seed, shape.elements());
    optimizer.set_param("0", &numbers(PARAMETERS)).expect("a known parameter");
    optimizer.set_grad("0", &numbers(GRADIENTS)).expect("a known parameter");
    optimizer
}
