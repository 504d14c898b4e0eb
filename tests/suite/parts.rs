//! A step in parts has the bits of a whole step, and is refused where it cannot.

mod left_out;
mod recorded;
mod refused;
mod shared;

use crate::common::random::Random;
use crate::formats::model::{Model, PLACEMENTS, device_for, name, twin};
use crate::formats::storages;
use wgpu_optim::internals::Formats;
use wgpu_optim::{Builder, CpuOptimizer, DynRule, Storage, rules};

/// Lengths around a word and a block; odd ones, so that neighbours in other parts share words.
const LENS: [usize; 7] = [1, 3, 4, 255, 257, 1021, 2048];

/// A parameter that is frozen.
const FROZEN: usize = 4;

const STEPS: usize = 3;

/// All parameters in a random order, in parts of random lengths; the frozen one in one or none.
fn partition(random: &mut Random, frozen: Option<usize>) -> Vec<Vec<usize>> {
    let mut order: Vec<_> = (0..LENS.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.next() as usize % (last + 1));
    }
    if random.next().is_multiple_of(2) {
        order.retain(|&param| Some(param) != frozen);
    }
    let mut parts = vec![Vec::new()];
    for param in order {
        if random.next().is_multiple_of(3) {
            parts.push(Vec::new());
        }
        parts.last_mut().expect("one").push(param);
    }
    parts
}

fn grads(random: &mut Random) -> Vec<Vec<f32>> {
    LENS.iter().map(|&len| random.wide_vec(len, 1e-3, 3.0)).collect()
}

fn states(rule: &dyn DynRule, storage: &Storage) -> Vec<&'static str> {
    let kept = Formats::of(storage, rule).keeping.state();
    rule.states().iter().map(|state| state.name).chain(kept).collect()
}

/// Averaging, clipping by value and zeroing, or nothing.
fn control(builder: Builder, asked: bool) -> Builder {
    if asked { builder.clip_grad_value(0.5).zero_grad() } else { builder }
}

#[test]
fn parts_have_the_bits_of_a_whole_step_in_every_rule_storage_and_placement() {
    let mut random = Random::new(41);
    for (index, rule) in rules::all().iter().enumerate() {
        for turn in 0..2 {
            let storage = &storages()[(5 * turn + index) % 9];
            let placement = PLACEMENTS[(index + turn) % 4];
            let asked = turn == 0;
            let build = || {
                let rule = rule.as_ref();
                Model::new(device_for(rule), rule, storage, &LENS, placement, |b| control(b, asked))
            };
            let (mut whole, mut parts) = (build(), build());
            let values = grads(&mut random);
            for model in [&mut whole, &mut parts] {
                model.set(0, &values);
                model.optimizer.set_micro_batches(2).expect("in range");
                model.optimizer.set_frozen([name(FROZEN)], true).expect("known");
            }
            let states = states(rule.as_ref(), storage);
            let mut last = Vec::new();
            for step in 0..STEPS {
                let grads = grads(&mut random);
                whole.set(1, &grads);
                parts.set(1, &grads);
                whole.step();
                let partition = partition(&mut random, Some(FROZEN));
                parts.step_in_parts(&partition, step % 2 == 0);
                let label = format!("{} {storage:?} {placement:?} {partition:?}", rule.name());
                assert!(whole.bits(&states) == parts.bits(&states), "{label}");
                parts.check_canaries();
                last = partition;
            }
            // Each part zeroes what it names; a whole step zeroes all.
            for (param, len) in LENS.into_iter().enumerate() {
                let grad = parts.optimizer.read_grad(name(param)).and_then(|r| r.wait());
                let named = last.iter().flatten().any(|&of| of == param);
                let zeroed = grad.expect("read").iter().all(|&g| g.to_bits() == 0);
                let may_be_zero = !(asked && named) && len < 5;
                let expected = asked && named;
                assert!(zeroed == expected || may_be_zero, "{} {param}", rule.name());
            }
        }
    }
}

#[test]
fn parts_have_the_bits_of_a_whole_step_on_the_cpu() {
    let mut random = Random::new(43);
    for (index, rule) in rules::all().iter().enumerate() {
        let storage = &storages()[index % 9];
        let mut twins = [0, 1, 2].map(|_| twin(rule.as_ref(), storage, &LENS));
        for (param, values) in grads(&mut random).iter().enumerate() {
            twins.iter_mut().for_each(|twin| twin.set_param(name(param), values).expect("set"));
        }
        for _ in 0..STEPS {
            let grads = grads(&mut random);
            let [whole, parts, threads] = &mut twins;
            for (param, grad) in grads.iter().enumerate() {
                whole.set_grad(name(param), grad).expect("set");
            }
            whole.step().expect("stepped");
            let partition = partition(&mut random, None);
            for (twin, on_threads) in [(parts, false), (threads, true)] {
                cpu_step(twin, &grads, &partition, on_threads);
            }
            let states = states(rule.as_ref(), storage);
            let bits = twins.each_ref().map(|twin| cpu_bits(twin, &states));
            assert!(bits[0] == bits[1] && bits[0] == bits[2], "{} {storage:?}", rule.name());
        }
    }
}

/// A part zeroes what it names, frozen or not, and nothing else.
#[test]
fn parts_zero_the_gradients_they_name_on_the_cpu() {
    let params = [("a", 3), ("b", 3), ("frozen", 3), ("unnamed", 3)];
    let builder = CpuOptimizer::<f32>::builder().group(wgpu_optim::Adam::default(), params);
    let mut optimizer = builder.zero_grad().build().expect("built");
    optimizer.set_frozen(["frozen", "unnamed"], true).expect("known");
    for (name, _) in params {
        optimizer.set_grad(name, &[1.0, -2.0, 3.0]).expect("set");
    }
    let sum = |step: &mut wgpu_optim::CpuOpenStep<'_, f32>, name: &str| {
        step.grad_mut(name).expect("in f32").sum()
    };
    let mut step = optimizer.begin_step().expect("begun");
    step.params(["a", "frozen"]).expect("stepped");
    let sums = params.map(|(name, _)| sum(&mut step, name));
    assert_eq!(sums, [0.0, 2.0, 0.0, 2.0]);
    step.params(["b"]).expect("stepped");
    assert_eq!(params.map(|(name, _)| sum(&mut step, name)), [0.0, 0.0, 0.0, 2.0]);
    step.end().expect("complete");
}

/// A step in parts, in which each gradient comes when its parameter's turn does.
fn cpu_step(
    twin: &mut CpuOptimizer<f32>,
    grads: &[Vec<f32>],
    partition: &[Vec<usize>],
    on_threads: bool,
) {
    let mut step = twin.begin_step().expect("begun");
    for part in partition {
        for &param in part {
            step.set_grad(name(param), &grads[param]).expect("set");
        }
        let names = part.iter().copied().map(name);
        if on_threads { step.par_params(names) } else { step.params(names) }.expect("stepped");
    }
    step.end().expect("complete");
}

fn cpu_bits(twin: &CpuOptimizer<f32>, states: &[&str]) -> Vec<(Vec<u32>, Vec<Vec<u8>>)> {
    let of = |param| {
        let values = twin.param(name(param)).expect("known");
        let states = states.iter().map(|state| twin.state_bytes(name(param), state));
        let states = states.map(|bytes| bytes.expect("known")).collect();
        (values.iter().map(|x| x.to_bits()).collect(), states)
    };
    (0..LENS.len()).map(of).collect()
}
