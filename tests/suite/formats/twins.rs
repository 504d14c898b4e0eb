//! Every rule in every storage: the same bits wherever its arrays are, and the CPU's within a
//! rounding.

use super::bounds::{self, Stored};
use super::model::{Model, PLACEMENTS, Placement, device_for, name, twin};
use super::storages;
use crate::common::gpu::Gpu;
use crate::common::random::Random;
use wgpu_optim::internals::{Codec, Formats};
use wgpu_optim::wgpu;
use wgpu_optim::{Builder, CpuOptimizer, DynRule, Format, Rounding, Storage, rules};

/// Lengths around a word, a block and a workgroup; odd ones, so that neighbours share words.
const LENS: [usize; 7] = [1, 3, 4, 255, 257, 1021, 2048];

const STEPS: usize = 3;

/// Numbers that the format has, since a copy to a buffer sets no master.
fn rounded(codec: Codec, arrays: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    arrays.into_iter().map(|array| array.iter().map(|&x| codec.rounded(x)).collect()).collect()
}

fn random_arrays(random: &mut Random, lens: &[usize]) -> Vec<Vec<f32>> {
    lens.iter().map(|&len| random.wide_vec(len, 1e-3, 3.0)).collect()
}

/// The names of all states, with what is kept beside parameters.
fn states(rule: &dyn DynRule, formats: &Formats) -> Vec<&'static str> {
    let own: Vec<_> = rule.states().iter().map(|state| state.name).collect();
    own.into_iter().chain(formats.keeping.state()).collect()
}

/// Follows a rule in all placements; `control` is what is done around its steps.
fn follow(
    gpus: &[&'static Gpu],
    lens: &[usize],
    rule: &dyn DynRule,
    storage: &Storage,
    control: impl Fn(Builder) -> Builder + Copy,
) {
    let formats = Formats::of(storage, rule);
    let states = states(rule, &formats);
    let mut first: Option<Vec<_>> = None;
    for gpu in gpus {
        let mut of_device: Option<Vec<_>> = None;
        for placement in PLACEMENTS {
            let mut random = Random::new(3);
            let mut model = Model::new(gpu, rule, storage, lens, placement, control);
            model.set(0, &rounded(formats.param, random_arrays(&mut random, lens)));
            let mut bits = Vec::new();
            for _ in 0..STEPS {
                model.set(1, &random_arrays(&mut random, lens));
                model.step();
                bits.push(model.bits(&states));
            }
            let expected = of_device.get_or_insert_with(|| bits.clone());
            assert!(bits == *expected, "{} {storage:?}: {placement:?} differs", rule.name());
            model.check_canaries();
        }
        if let (Some(first), Some(bits)) = (&first, &of_device) {
            assert!(rule.passes().len() > 1 || first == bits, "{}: a device differs", rule.name());
        }
        first = first.or(of_device);
    }
}

#[test]
fn placement_changes_no_bit_of_any_rule_in_any_storage() {
    for (index, rule) in rules::all().iter().enumerate() {
        for turn in 0..3 {
            let storage = &storages()[(3 * turn + index) % 9];
            let gpu = device_for(rule.as_ref());
            follow(&[gpu], &LENS, rule.as_ref(), storage, |builder| builder);
        }
    }
}

#[test]
fn placement_changes_no_bit_with_control_windows_and_words_of_64_bits() {
    let rules = rules::all();
    let named = |name: &str| rules.iter().find(|rule| rule.name() == name).expect("a rule");
    let control = |builder: Builder| builder.clip_grad_norm(1.0).statistics().zero_grad();
    // Bindings so small that the last parameter takes several windows.
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 128 << 10, ..Default::default() };
    let small: &Gpu = Box::leak(Box::new(Gpu::new(limits)));
    let gpus = [Gpu::default(), Gpu::adapter_limits(), small];
    for storage in storages() {
        follow(&gpus, &[5, 70_001], named("adam").as_ref(), &storage, |builder| builder);
        follow(&gpus[1..2], &LENS, named("sgd").as_ref(), &storage, control);
    }
}

/// Takes a step of both from the CPU's arrays, and compares.
fn compare(rule: &dyn DynRule, storage: &Storage, model: &mut Model, cpu: &mut CpuOptimizer<f32>) {
    let formats = Formats::of(storage, rule);
    let states = states(rule, &formats);
    let before: Vec<_> = (0..LENS.len()).map(|i| Stored::of(cpu, &name(i), &states)).collect();
    model.set(0, &before.iter().map(|stored| stored.param.clone()).collect::<Vec<_>>());
    for i in 0..LENS.len() {
        for state in &states {
            let bytes = cpu.state_bytes(name(i), state).expect("known");
            model.optimizer.set_state_bytes(name(i), state, &bytes).expect("set");
        }
    }
    model.step();
    cpu.step().expect("stepped");
    for (i, before) in before.iter().enumerate() {
        let found = Stored {
            param: model.param(i),
            states: states.iter().map(|state| model.state(i, state)).collect(),
        };
        let expected = Stored::of(cpu, &name(i), &states);
        let label = format!("{} {storage:?} p{i}", rule.name());
        bounds::check(&label, &formats, before, &found, &expected);
    }
}

#[test]
fn the_cpu_steps_every_rule_in_every_storage_alike() {
    for (index, rule) in rules::all().iter().enumerate() {
        for turn in 0..3 {
            let storage = &storages()[(3 * turn + index + 1) % 9];
            let mut random = Random::new(17);
            let gpu = device_for(rule.as_ref());
            let mut model = Model::new(gpu, rule.as_ref(), storage, &LENS, Placement::Arena, |b| b);
            let mut cpu = twin(rule.as_ref(), storage, &LENS);
            for (i, values) in random_arrays(&mut random, &LENS).iter().enumerate() {
                cpu.set_param(name(i), values).expect("set");
            }
            for _ in 0..STEPS {
                let grads = random_arrays(&mut random, &LENS);
                model.set(1, &grads);
                for (i, grad) in grads.iter().enumerate() {
                    cpu.set_grad(name(i), grad).expect("set");
                }
                compare(rule.as_ref(), storage, &mut model, &mut cpu);
            }
        }
    }
}

/// What states in 8 bits are before the first step, by bytes and by values: on both the same.
#[test]
fn states_start_with_the_same_bits_on_both() {
    const LENS: [usize; 2] = [3, 257];
    let storage = Storage::f32().states(Format::Block8).min_block8(0);
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for rule in rules::all() {
        let gpu = Gpu::default();
        let model = Model::new(gpu, rule.as_ref(), &storage, &LENS, Placement::Arena, |b| b);
        let cpu = twin(rule.as_ref(), &storage, &LENS);
        for state in rule.states() {
            for (param, len) in LENS.into_iter().enumerate() {
                let label = format!("{} {} of {len}", rule.name(), state.name);
                let bytes = cpu.state_bytes(name(param), state.name).expect("known");
                assert!(model.state(param, state.name) == bytes, "{label}");
                let on_gpu = model.optimizer.read_state(name(param), state.name);
                let on_gpu = bits(&on_gpu.and_then(|read| read.wait()).expect("read"));
                let on_cpu = cpu.state(name(param), state.name).expect("known").to_vec();
                assert!(on_gpu == bits(&on_cpu), "{label}");
                let is_zero = on_gpu.iter().all(|&bits| bits == 0);
                assert_eq!(is_zero, state.value == 0.0, "{label}: no −0");
            }
        }
    }
}

/// With and without threads, and in chunks of any size, the CPU's bits are the same.
#[cfg(feature = "rayon")]
#[test]
fn threads_change_no_bit_of_stored_arrays() {
    const LEN: usize = 70_001;
    for storage in storages() {
        let rule = wgpu_optim::LAMB::default();
        let mut twins = [0, 1].map(|_| twin(&rule, &storage, &[LEN]));
        let mut random = Random::new(23);
        let values = random.wide_vec(LEN, 1e-3, 3.0);
        twins.iter_mut().for_each(|twin| twin.set_param("p0", &values).expect("set"));
        for _ in 0..3 {
            let grad = random.wide_vec(LEN, 1e-3, 3.0);
            twins.iter_mut().for_each(|twin| twin.set_grad("p0", &grad).expect("set"));
            let [serial, parallel] = &mut twins;
            serial.step().expect("stepped");
            parallel.par_step().expect("stepped");
            for state in states(&rule, &Formats::of(&storage, &rule)) {
                let [a, b] =
                    [&*serial, parallel].map(|twin| twin.state_bytes("p0", state).expect("known"));
                assert!(a == b, "{storage:?} {state}");
            }
            assert_eq!(serial.param("p0").expect("known"), parallel.param("p0").expect("known"));
        }
    }
}

/// What chance decides depends on nothing but seed, name, element and step: not on other
/// parameters, nor on steps that were skipped.
#[test]
fn chances_depend_on_the_parameter_alone() {
    let rule = wgpu_optim::SGD { lr: 1e-4, ..Default::default() };
    let storage = |seed| Storage::bf16(Rounding::Stochastic { seed }).grads(Format::F32);
    let values = vec![1.0; 700];
    let run = |seed, others: &[usize], bad: bool| {
        let lens: Vec<_> = std::iter::once(700).chain(others.iter().copied()).collect();
        let skip = |builder: Builder| builder.skip_non_finite();
        let gpu = Gpu::default();
        let mut model = Model::new(gpu, &rule, &storage(seed), &lens, Placement::Arena, skip);
        model.optimizer.set_param("p0", &values).expect("set");
        for step in 0..4 {
            model.optimizer.set_grad("p0", &values).expect("set");
            if bad && step % 2 == 1 {
                let bad = vec![f32::NAN; 700];
                model.optimizer.set_grad("p0", &bad).expect("set");
                model.step();
                model.optimizer.set_grad("p0", &values).expect("set");
            }
            model.step();
        }
        model.param(0)
    };
    let expected = run(1, &[], false);
    assert_eq!(run(1, &[3, 5000], false), expected);
    assert_eq!(run(1, &[], true), expected);
    assert_ne!(run(2, &[], false), expected);
    let moved = expected.iter().filter(|&&x| x != 1.0).count();
    assert!((40..500).contains(&moved), "{moved} of 700 moved");
}
