//! What surrounds a step: clipping, scaling, skipping, on the GPU and its twin on the CPU.

use crate::common::cases::{cases, label};
use crate::common::gpu::Gpu;
use crate::common::model::{Model, PLACEMENTS, Placement, name, steps_taken};
use crate::common::random::Random;
use proptest::prelude::*;
use wgpu_optim::{
    Adam, AdamW, Builder, CpuOptimizer, DynRule, GradScaler, LAMB, NAdam, Optimizer, SGD,
};

/// Lengths around every boundary.
const LENS: [usize; 6] = [1, 300, 5, 0, 1024, 257];

/// Gradients of a model for a step.
fn gradients(random: &mut Random, lens: &[usize]) -> Vec<Vec<f32>> {
    lens.iter().map(|&len| random.wide_vec(len, -2.0, 2.0)).collect()
}

fn build(
    rule: &dyn DynRule,
    lens: &[usize],
    placement: Placement,
    control: impl Fn(Builder) -> Builder,
) -> Model {
    let mut model =
        Model::with(Gpu::default(), rule.boxed(), lens, placement, control).expect("built");
    model.randomize(&mut Random::new(1), -2.0, 2.0);
    model
}

fn skipping(builder: Builder) -> Builder {
    builder.grad_scaler(GradScaler::constant(1.0))
}

/// Where nothing is skipped or clipped, steps that the GPU decides on are those that the host
/// computes, bit for bit, whatever the rule: the same coefficients come out of the recorded
/// programs.
#[test]
fn a_step_that_the_gpu_decides_on_is_the_plain_one() {
    for rule in cases() {
        let mut plain = build(rule.as_ref(), &LENS, Placement::Arena, |builder| builder);
        let mut decided = build(rule.as_ref(), &LENS, Placement::Arena, skipping);
        let mut random = Random::new(2);
        for step in 1..=8 {
            let grads = gradients(&mut random, &LENS);
            for model in [&mut plain, &mut decided] {
                model.set_grads(&grads);
                model.step();
            }
            assert!(plain.bits() == decided.bits(), "{} step {step}", label(rule.as_ref()));
        }
    }
}

/// The same from any step on: up to ten million, where f32 would have lost count of β^t long ago.
#[test]
fn coefficients_are_the_hosts_at_any_step() {
    for rule in cases() {
        let mut plain = build(rule.as_ref(), &[64], Placement::Arena, |builder| builder);
        let mut decided = build(rule.as_ref(), &[64], Placement::Arena, skipping);
        for behind in [0, 1, 4, 5, 100, 65_535, 1_000_003, 9_999_998] {
            for model in [&mut plain, &mut decided] {
                model.set_grads(&gradients(&mut Random::new(3), &[64]));
                model.optimizer.set_steps("p0", behind).expect("set");
                model.step();
                model.step();
                assert_eq!(steps_taken(&model.optimizer, "p0"), behind + 2);
            }
            assert!(plain.bits() == decided.bits(), "{} from step {behind} on", label(&*rule));
            let steps = u64::from(decided.statistics().parameters[0].steps);
            assert_eq!(steps, behind + 2);
        }
    }
}

/// A fault: in which step, in which parameter, at which element, and what.
type Fault = (usize, usize, usize, f32);

/// A model, its steps, and the faults in their gradients.
fn run() -> impl Strategy<Value = (Vec<usize>, usize, Vec<Fault>)> {
    let lens = prop::collection::vec(prop_oneof![1usize..6, 250usize..260, 1usize..3000], 1..6);
    let fault = (0usize..8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..3);
    (lens, prop::collection::vec(fault, 0..5), 3usize..9).prop_map(|(lens, faults, steps)| {
        let fault = |(step, param, element, kind): (
            usize,
            prop::sample::Index,
            prop::sample::Index,
            usize,
        )| {
            let param = param.index(lens.len());
            let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][kind];
            (step, param, element.index(lens[param]), bad)
        };
        let faults = faults.into_iter().map(fault).collect();
        (lens, steps, faults)
    })
}

fn faulty(grads: &mut [Vec<f32>], faults: &[Fault], step: usize) -> bool {
    let of_step = faults.iter().filter(|fault| fault.0 == step);
    of_step.map(|&(_, param, element, bad)| grads[param][element] = bad).count() > 0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// A run with bad batches is the run without them, bit for bit: no parameter, state or step
    /// count moved. The twin on the CPU skips the same.
    #[test]
    fn a_skipped_step_never_was((lens, steps, faults) in run(), choice in 0usize..4) {
        let rule = NAdam { weight_decay: 0.1, ..Default::default() };
        let mut faulted = build(&rule, &lens, PLACEMENTS[choice], |b| skipping(b).clip_grad_norm(0.5));
        let mut clean = build(&rule, &lens, PLACEMENTS[choice], |b| skipping(b).clip_grad_norm(0.5));
        let mut twin = CpuOptimizer::<f32>::builder()
            .group(rule, lens.iter().enumerate().map(|(i, &len)| (name(i), len)))
            .grad_scaler(GradScaler::constant(1.0))
            .build()
            .expect("built");
        let mut random = Random::new(7);
        let mut skipped = 0;
        for step in 0..steps {
            let mut grads = gradients(&mut random, &lens);
            if faulty(&mut grads, &faults, step) {
                skipped += 1;
            } else {
                clean.set_grads(&grads);
                clean.step();
            }
            faulted.set_grads(&grads);
            faulted.step();
            for (i, grad) in grads.iter().enumerate() {
                twin.set_grad(name(i), grad).expect("set");
            }
            twin.step().expect("stepped");
            prop_assert_eq!(twin.skipped(), skipped);
            let found = faulted.statistics();
            prop_assert_eq!(u64::from(found.skipped), skipped);
            prop_assert!(found.parameters.iter().all(|p| u64::from(p.steps) == twin.steps("p0").expect("known")));
        }
        prop_assert!(faulted.bits() == clean.bits());
        faulted.check_canaries();
    }

    /// Dynamic scales, norms and factors as the twin's, from step to step.
    #[test]
    fn the_twin_decides_alike((lens, steps, faults) in run(), max_norm in 1e-3f64..1e3, by_max: bool, k in 1u32..5) {
        let scaler = GradScaler { init_scale: 1024.0, growth_interval: 2, backoff_factor: 0.3, ..Default::default() };
        let rule = SGD { lr: 1e-2, ..Default::default() };
        let mut model = build(&rule, &lens, Placement::Arena, |builder| {
            let builder = builder.grad_scaler(scaler);
            if by_max { builder.clip_grad_norm_max(max_norm) } else { builder.clip_grad_norm(max_norm) }
        });
        let twin = CpuOptimizer::<f32>::builder()
            .group(rule, lens.iter().enumerate().map(|(i, &len)| (name(i), len)))
            .grad_scaler(scaler);
        let mut twin = if by_max { twin.clip_grad_norm_max(max_norm) } else { twin.clip_grad_norm(max_norm) }
            .build()
            .expect("built");
        model.optimizer.set_micro_batches(k).expect("set");
        twin.set_micro_batches(k).expect("set");
        let mut random = Random::new(8);
        for step in 0..steps {
            let mut grads = gradients(&mut random, &lens);
            grads.iter_mut().flatten().for_each(|g| *g *= twin.loss_scale().expect("scaled") * k as f32);
            faulty(&mut grads, &faults, step);
            for (i, grad) in grads.iter().enumerate() {
                twin.set_grad(name(i), grad).expect("set");
            }
            model.set_grads(&grads);
            model.step();
            twin.step().expect("stepped");
            let found = model.statistics();
            prop_assert_eq!(found.next_loss_scale, twin.loss_scale().expect("scaled"));
            prop_assert_eq!(u64::from(found.skipped), twin.skipped());
            prop_assert_eq!(u64::from(found.skipped_in_row), twin.skipped_in_row());
            let norm = twin.grad_norm() as f32;
            let same = found.grad_norm.to_bits() == norm.to_bits();
            let close = (found.grad_norm / norm - 1.0).abs() <= 1e-6;
            prop_assert!(same || (close && !by_max) || (norm.is_nan() && found.grad_norm.is_nan()), "{} {norm}", found.grad_norm);
        }
    }
}

/// One bad element anywhere is seen, named, and stops all.
#[test]
fn a_bad_element_anywhere_skips_the_whole_step() {
    let faults = [
        (LENS.len() - 1, 256, f32::NAN), // the last element of the last tensor
        (0, 0, f32::INFINITY),           // a tensor of length 1
        (2, 4, f32::NEG_INFINITY),
        (4, 1023, f32::from_bits(0xffff_ffff)),
    ];
    for placement in PLACEMENTS {
        let mut model = build(&AdamW::default(), &LENS, placement, |b| skipping(b).statistics());
        let before = model.bits();
        for (step, (param, element, bad)) in faults.into_iter().enumerate() {
            let mut grads = gradients(&mut Random::new(4), &LENS);
            grads[param][element] = bad;
            model.set_grads(&grads);
            model.step();
            assert!(model.bits() == before, "{placement:?}: a fault in p{param} changed something");
            let found = model.statistics();
            assert_eq!(
                (found.non_finite, found.skipped as usize, found.steps as usize),
                (1, step + 1, step + 1)
            );
            let first = found.first_non_finite.expect("one");
            assert_eq!((first.parameter, first.index), (name(param), element as u64));
            assert!(found.is_skipped && !found.grad_norm.is_finite());
            assert!(found.parameters.iter().all(|p| p.steps == 0));
            let still = |p: &wgpu_optim::ParameterStatistics| {
                p.norms.is_none_or(|norms| norms.update == 0.0)
            };
            assert!(found.parameters.iter().all(still));
        }
        model.check_canaries();
    }
}

/// What comes first is what is named, whatever else is wrong.
#[test]
fn the_first_of_many_bad_elements_is_named() {
    let mut model = build(&SGD::default(), &LENS, Placement::Separate, skipping);
    let mut grads = gradients(&mut Random::new(4), &LENS);
    for (param, element) in [(5, 0), (4, 700), (4, 699), (4, 1000)] {
        grads[param][element] = f32::NAN;
    }
    model.set_grads(&grads);
    model.step();
    let found = model.statistics();
    let first = found.first_non_finite.expect("some");
    assert_eq!((found.non_finite, first.parameter.as_str(), first.index), (4, "p4", 699));
}

/// Two steps recorded before one submit, the first of which is skipped: the second is the first
/// then.
#[test]
fn steps_recorded_together_are_skipped_apart() {
    let gpu = Gpu::default();
    let mut model = build(&Adam::default(), &[300], Placement::Aligned, skipping);
    let mut alone = build(&Adam::default(), &[300], Placement::Aligned, |builder| builder);
    let good = gradients(&mut Random::new(5), &[300]);
    let mut bad = good.clone();
    bad[0][299] = f32::NAN;
    let [bad, staged] = [&bad, &good].map(|grads| gpu.buffer(&grads[0]));
    let mut encoder = gpu.encoder();
    let target = model.optimizer.grad("p0").expect("known")[0];
    let (target, offset) = (target.buffer().clone(), target.offset());
    for grads in [&bad, &staged] {
        encoder.copy_buffer_to_buffer(grads, 0, &target, offset, 1200);
        model.optimizer.step(&mut encoder).expect("recorded");
    }
    gpu.submit(encoder);
    alone.set_grads(&good);
    alone.step();
    assert!(model.bits() == alone.bits());
    assert_eq!(model.statistics().skipped, 1);
}

/// The norm of many elements of all magnitudes, to 1e-6: no square overflows or vanishes.
#[test]
fn the_norm_of_a_hundred_million_elements_of_all_magnitudes() {
    const LEN: usize = 4_000_000;
    const COUNT: usize = 25;
    let lens = [LEN; COUNT];
    let model =
        Model::with(Gpu::adapter_limits(), SGD::default().into(), &lens, Placement::Arena, |b| {
            b.clip_grad_norm(1.0)
        });
    let mut model = model.expect("built");
    let mut random = Random::new(6);
    let mut squares = 0.0;
    let magnitudes: Vec<f32> = random.wide_vec(LEN, -15.0, 15.0);
    for param in 0..COUNT {
        let shrink = 0.9f32.powi(param as i32);
        let grad: Vec<f32> = magnitudes.iter().map(|x| x * shrink).collect();
        squares += grad.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        model.optimizer.set_grad(name(param), &grad).expect("set");
    }
    model.step();
    let found = model.statistics();
    let error = f64::from(found.grad_norm) / squares.sqrt() - 1.0;
    println!("relative error of the norm: {error:e}");
    assert!(error.abs() <= 1e-6, "{error}");
}

/// Norms where all is tiny, huge, zero, or exactly at the limit.
#[test]
fn norms_at_the_ends() {
    // Gradient, largest norm, expected norm, expected factor.
    let cases = [
        (vec![0.0; 700], 1.0, 0.0, 1.0),
        (vec![1e-30; 10_000], 1e-30, 1e-28, 1e-30 / (1e-28 + 1e-6)),
        (vec![1e38; 4], 1e10, 2e38, 5e-29),
        (vec![1e30; 10_000], 1e10, 1e32, 1e-22),
        (vec![-3.0, 4.0], 5.0, 5.0, 5.0 / (5.0 + 1e-6)),
        (vec![3000.0, 4000.0], 5000.0, 5000.0, 5000.0 / (5000.0 + 1e-6)),
        (vec![3.0, 4.0], 5.0 + 1e-6, 5.0, 1.0),
        (vec![3.0, 4.0], 6.0, 5.0, 1.0),
        (vec![f32::MIN_POSITIVE; 100], 1.0, 10.0 * f64::from(f32::MIN_POSITIVE), 1.0),
    ];
    for (grad, max_norm, norm, factor) in cases {
        let rule = SGD { lr: 1.0, ..Default::default() };
        let mut model =
            Model::with(Gpu::default(), rule.into(), &[grad.len()], Placement::Arena, |b| {
                b.clip_grad_norm(max_norm).statistics()
            })
            .expect("built");
        model.set_grads(std::slice::from_ref(&grad));
        model.step();
        let found = model.statistics();
        let close = |found: f32, expected: f64| {
            let expected = expected as f32;
            found == expected || (found / expected - 1.0).abs() <= 1e-6
        };
        assert!(close(found.grad_norm, norm), "{} for {norm}", found.grad_norm);
        assert!(close(found.clip, factor), "{} for {factor}", found.clip);
        let moved = model.arrays()[0].0[0][0];
        let expected = -f64::from(grad[0]) * f64::from(found.clip);
        assert!(close(moved, expected) || expected.abs() < 1e-37, "{moved} for {expected}");
    }
}

/// Without a scaler, bad gradients do what they do in PyTorch: an infinite norm zeroes the finite
/// ones, a NaN reaches all.
#[test]
fn clipping_without_a_scaler_spreads_what_is_not_finite() {
    for (bad, elsewhere) in [(f32::INFINITY, Some(0.5)), (f32::NAN, None)] {
        let mut model =
            build(&SGD { lr: 1.0, ..Default::default() }, &[300, 2], Placement::Arena, |b| {
                b.clip_grad_norm(1.0)
            });
        model.optimizer.set_param("p1", &[0.5, 0.5]).expect("set");
        model.set_grads(&[vec![1.0; 300], vec![1.0, bad]]);
        model.step();
        let found = model.optimizer.read_param("p1").and_then(|r| r.wait()).expect("read");
        assert!(found[1].is_nan());
        assert!(elsewhere.map_or(found[0].is_nan(), |expected| found[0] == expected), "{found:?}");
    }
}

#[test]
fn elements_are_clamped_by_value_and_nan_stays() {
    let rule = SGD { lr: 1.0, ..Default::default() };
    let mut model = build(&rule, &[5], Placement::Separate, |b| b.clip_grad_value(0.5));
    model.optimizer.set_param("p0", &[0.0; 5]).expect("set");
    model.set_grads(&[vec![0.25, -7.0, f32::INFINITY, f32::NAN, 0.5]]);
    model.step();
    let found = model.optimizer.read_param("p0").and_then(|r| r.wait()).expect("read");
    assert_eq!(found[..3], [-0.25, 0.5, -0.5]);
    assert!(found[3].is_nan() && found[4] == -0.5);
    model.optimizer.set_clip_grad_value(0.125).expect("set");
    model.set_grads(&[vec![1.0; 5]]);
    model.step();
    let moved = model.optimizer.read_param("p0").and_then(|r| r.wait()).expect("read");
    assert_eq!(moved[0], found[0] - 0.125);
}

/// Sums over micro-batches are averaged; by a power of two, exactly.
#[test]
fn sums_over_micro_batches_are_averaged() {
    for control in [|b: Builder| b, skipping] {
        let mut summed = build(&Adam::default(), &LENS, Placement::Arena, control);
        let mut averaged = build(&Adam::default(), &LENS, Placement::Arena, control);
        summed.optimizer.set_micro_batches(4).expect("set");
        let grads = gradients(&mut Random::new(9), &LENS);
        averaged.set_grads(&grads);
        let times_4 = |grad: &Vec<f32>| grad.iter().map(|g| 4.0 * g).collect();
        summed.set_grads(&grads.iter().map(times_4).collect::<Vec<_>>());
        summed.step();
        averaged.step();
        assert!(summed.bits() == averaged.bits());
    }
}

/// Gradients are zeroed where it was asked for, in good steps and in skipped ones, and nothing
/// beside them is.
#[test]
fn gradients_are_zeroed_as_they_are_read_or_by_command() {
    for placement in PLACEMENTS {
        for rule in [AdamW::default().into(), Box::<dyn DynRule>::from(LAMB::default())] {
            let mut kept = build(rule.as_ref(), &LENS, placement, skipping);
            let mut zeroed = build(rule.as_ref(), &LENS, placement, |b| skipping(b).zero_grad());
            let mut grads = gradients(&mut Random::new(9), &LENS);
            for bad in [false, true] {
                if bad {
                    grads[4][9] = f32::NAN;
                }
                for model in [&mut kept, &mut zeroed] {
                    model.set_grads(&grads);
                    model.step();
                }
                assert!(kept.bits() == zeroed.bits());
                let read = |model: &Model, i| {
                    model.optimizer.read_grad(name(i)).and_then(|r| r.wait()).expect("read")
                };
                for (i, grad) in grads.iter().enumerate() {
                    assert!(
                        read(&zeroed, i).iter().all(|g| g.to_bits() == 0),
                        "{placement:?} p{i}"
                    );
                    let same =
                        read(&kept, i).iter().zip(grad).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same);
                }
            }
            let mut encoder = kept.gpu.encoder();
            kept.optimizer.zero_grad(&mut encoder).expect("recorded");
            kept.gpu.submit(encoder);
            for i in 0..LENS.len() {
                let grads = kept.optimizer.read_grad(name(i)).and_then(|r| r.wait()).expect("read");
                assert!(grads.iter().all(|g| *g == 0.0));
            }
            kept.check_canaries();
            zeroed.check_canaries();
        }
    }
}

/// Norms, and so clipped steps, have the same bits however the model is placed and cut.
#[test]
fn placement_and_windows_change_no_bit_of_a_clipped_step() {
    let lens = [70_000, 3, 257, 1, 40_000];
    let mut found: Vec<(u32, Vec<Vec<Vec<u32>>>)> = Vec::new();
    let all = |gpu| PLACEMENTS.map(|placement| (gpu, placement));
    let devices = [all(Gpu::default()), all(Gpu::small_bindings())].concat();
    for (gpu, placement) in devices.into_iter().chain([(Gpu::small_buffers(), Placement::Arena)]) {
        let model = Model::with(gpu, AdamW::default().into(), &lens, placement, |b| {
            skipping(b).clip_grad_norm(0.1).statistics()
        });
        let mut model = model.expect("built");
        model.randomize(&mut Random::new(1), -2.0, 2.0);
        model.set_grads(&gradients(&mut Random::new(2), &lens));
        model.step();
        found.push((model.statistics().grad_norm.to_bits(), model.bits()));
    }
    assert!(found.iter().all(|other| *other == found[0]));
}

/// What is known of each parameter is what the arrays say.
#[test]
fn statistics_are_those_of_the_arrays() {
    for rule in [Box::<dyn DynRule>::from(Adam::default()), LAMB::default().into()] {
        let scaler = GradScaler { init_scale: 8.0, ..Default::default() };
        let mut model = build(rule.as_ref(), &LENS, Placement::Pooled, |b| {
            b.grad_scaler(scaler).clip_grad_norm(1e-2).statistics()
        });
        let before = model.arrays();
        let grads = gradients(&mut Random::new(9), &LENS);
        model.set_grads(&grads);
        model.step();
        let (after, found) = (model.arrays(), model.statistics());
        let length =
            |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let close =
            |found: f32, expected: f64| (f64::from(found) - expected).abs() <= 1e-5 * expected;
        let all = length(&mut grads.iter().flatten().map(|&g| f64::from(g) / 8.0));
        assert!(close(found.grad_norm, all));
        assert_eq!((found.loss_scale, found.next_loss_scale, found.growth_tracker), (8.0, 8.0, 1));
        for (i, parameter) in found.parameters.iter().enumerate() {
            assert_eq!((&parameter.name, parameter.steps), (&name(i), 1));
            let Some(norms) = parameter.norms else {
                assert_eq!(LENS[i], 0);
                continue;
            };
            let [p, q] = [&before[i].0[0], &after[i].0[0]];
            assert!(close(norms.grad, length(&mut grads[i].iter().map(|&g| f64::from(g) / 8.0))));
            assert!(close(norms.param, length(&mut q.iter().map(|&x| f64::from(x)))));
            let change = length(&mut p.iter().zip(q).map(|(p, q)| f64::from(*q) - f64::from(*p)));
            assert!(close(norms.update, change), "{} for {change}", norms.update);
            assert_eq!(norms.update_ratio(), norms.update / norms.param);
        }
    }
}

/// What is asked for costs one more read of the gradients and two small dispatches, whatever the
/// number of tensors; what is not costs nothing.
#[test]
fn the_number_of_dispatches_does_not_depend_on_the_number_of_tensors() {
    for count in [1, 10, 500] {
        let lens = vec![30; count];
        let dispatches = |control: fn(Builder) -> Builder| {
            let mut model = build(&Adam::default(), &lens, Placement::Arena, control);
            model.optimizer.dispatches().expect("ready")
        };
        assert_eq!(dispatches(|b| b), 1);
        assert_eq!(dispatches(|b| b.clip_grad_value(1.0).zero_grad()), 1);
        assert_eq!(dispatches(|b| b.clip_grad_norm(1.0)), 4);
        assert_eq!(dispatches(|b| skipping(b).clip_grad_norm(1.0).zero_grad()), 4);
    }
}

/// An engine can bind the scale, and finds there what the GPU decided.
#[test]
fn the_loss_scale_lives_on_the_gpu() {
    let scaler = GradScaler { growth_interval: 1, init_scale: 4.0, ..Default::default() };
    let mut model = build(&SGD::default(), &[3], Placement::Arena, |b| b.grad_scaler(scaler));
    let scale = |model: &Model| {
        f32::from_bits(model.gpu.read(model.optimizer.loss_scale().expect("scaled"))[0])
    };
    assert_eq!(scale(&model), 4.0);
    for (bad, expected) in
        [(false, 8.0), (true, 4.0), (true, 2.0), (true, 1.0), (true, 1.0), (false, 2.0)]
    {
        model.set_grads(&[vec![1.0, if bad { f32::INFINITY } else { 2.0 }, 3.0]]);
        model.step();
        assert_eq!(scale(&model), expected);
    }
    let usages = model.optimizer.loss_scale().expect("scaled").usage();
    assert!(usages.contains(
        wgpu_optim::wgpu::BufferUsages::UNIFORM | wgpu_optim::wgpu::BufferUsages::STORAGE
    ));
}

/// Dividing by the scale may overflow what was finite; that too is skipped.
#[test]
fn a_gradient_that_overflows_when_unscaled_is_skipped() {
    let scaler = GradScaler::constant(0.25);
    let mut model = build(&SGD::default(), &[3], Placement::Arena, |b| b.grad_scaler(scaler));
    for (g, skipped) in [(8e37, 0), (1e38, 1), (-1e38, 2)] {
        model.set_grads(&[vec![1.0, g, 3.0]]);
        model.step();
        assert_eq!(model.statistics().skipped, skipped, "{g}");
    }
}

/// A model that is NaN for good is told from a scale that backs off: by steps skipped in a row.
#[test]
fn steps_skipped_in_a_row_are_counted_on_both_engines() {
    let scaler = GradScaler::constant(1.0);
    let mut model = build(&SGD::default(), &[3], Placement::Arena, |b| b.grad_scaler(scaler));
    let twin = CpuOptimizer::<f32>::builder().group(SGD::default(), [("p0", 3)]);
    let mut twin = twin.grad_scaler(scaler).build().expect("built");
    let steps =
        [(0.5, 0, 0), (f32::NAN, 1, 1), (f32::INFINITY, 2, 2), (0.5, 0, 2), (f32::NAN, 1, 3)];
    for (g, in_row, skipped) in steps {
        let gradient = [1.0, g, 3.0];
        model.set_grads(&[gradient.to_vec()]);
        model.step();
        twin.set_grad("p0", &gradient).expect("set");
        twin.step().expect("stepped");
        let found = model.statistics();
        assert_eq!((found.skipped_in_row, found.skipped), (in_row, skipped), "{g}");
        assert_eq!((twin.skipped_in_row(), twin.skipped()), (in_row.into(), skipped.into()), "{g}");
    }
}

#[test]
fn settings_out_of_range_and_never_asked_for_are_refused() {
    let gpu = Gpu::default();
    let refused = |control: &dyn Fn(Builder) -> Builder, words: &[&str]| {
        let builder = control(Optimizer::builder().group(SGD::default(), [("w", 3)]));
        let message = builder.build(&gpu.device, &gpu.queue).expect_err("refused").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    refused(&|b| b.clip_grad_norm(0.0), &["clip_grad_norm", "above 0"]);
    refused(&|b| b.clip_grad_norm_max(f64::NAN), &["clip_grad_norm", "NaN"]);
    refused(&|b| b.clip_grad_value(-1.0), &["clip_grad_value", "-1"]);
    let scaler = GradScaler::default();
    refused(&|b| b.grad_scaler(GradScaler { init_scale: 0.5, ..scaler }), &["init_scale", "0.5"]);
    refused(
        &|b| b.grad_scaler(GradScaler { init_scale: f32::INFINITY, ..scaler }),
        &["init_scale"],
    );
    refused(&|b| b.grad_scaler(GradScaler { growth_factor: 0.5, ..scaler }), &["growth_factor"]);
    refused(&|b| b.grad_scaler(GradScaler { backoff_factor: 0.0, ..scaler }), &["backoff_factor"]);
    refused(&|b| b.grad_scaler(GradScaler { growth_interval: 0, ..scaler }), &["growth_interval"]);
    refused(&|b| b.grad_scaler(GradScaler { min_scale: 0.0, ..scaler }), &["min_scale"]);
    refused(&|b| b.lr_multiplier(-1.0), &["group 0", "multiplier"]);
    let names = |b: Builder| b.groups_by_name([("*.bias", SGD::default())], [("w2", 1)]);
    refused(&names, &["`w2`", "*.bias"]);

    let mut model = build(&SGD::default(), &[3], Placement::Arena, |b| b);
    let never = [
        model.optimizer.set_clip_grad_norm(1.0),
        model.optimizer.set_clip_grad_value(1.0),
        model.optimizer.loss_scale().map(|_| ()),
        model.optimizer.read_statistics().map(|_| ()),
    ];
    for result in never {
        let message = result.expect_err("never asked for").to_string();
        assert!(message.contains("built"), "{message}");
    }
    assert!(model.optimizer.set_micro_batches(0).is_err());
}
