//! Sums within subgroups, where the device has them: the same bits whatever the placement, and what
//! workgroup memory gives up to f32's rounding.

use crate::common::gpu::{Gpu, adapter};
use crate::common::model::{Model, PLACEMENTS, Placement};
use crate::common::random::Random;
use std::sync::OnceLock;
use wgpu_optim::{Adam, Builder, DynRule, GradScaler, LAMB, LARS, Statistics, wgpu};

const LENS: [usize; 6] = [1, 255, 256, 257, 4097, 20_001];

fn subgroups() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<&'static Gpu>> = OnceLock::new();
    *GPU.get_or_init(|| {
        let has = adapter().features().contains(wgpu::Features::SUBGROUP);
        has.then(|| Gpu::features(wgpu::Features::SUBGROUP))
    })
}

fn all(builder: Builder) -> Builder {
    builder.clip_grad_norm(3.0).grad_scaler(GradScaler::constant(2.0)).statistics()
}

/// A model after some steps, the second of which has bad gradients, and its statistics after each.
fn run(gpu: &'static Gpu, rule: &dyn DynRule, placement: Placement) -> (Model, Vec<Statistics>) {
    let mut model = Model::with(gpu, rule.boxed(), &LENS, placement, all).expect("built");
    let mut random = Random::new(15);
    model.randomize(&mut random, -2.0, 2.0);
    let mut statistics = Vec::new();
    for step in 0..4 {
        let mut grads: Vec<_> = LENS.iter().map(|&len| random.wide_vec(len, -8.0, 8.0)).collect();
        if step == 1 {
            (grads[3][200], grads[5][19_999]) = (f32::NAN, f32::INFINITY);
        }
        model.set_grads(&grads);
        model.step();
        statistics.push(model.statistics());
    }
    (model, statistics)
}

fn rules() -> [Box<dyn DynRule>; 3] {
    [Adam::default().into(), LAMB::default().into(), LARS::default().into()]
}

#[test]
fn placement_changes_no_bit_of_sums_within_subgroups() {
    let Some(gpu) = subgroups() else { return };
    for rule in rules() {
        let (expected, expected_statistics) = run(gpu, rule.as_ref(), PLACEMENTS[0]);
        for placement in &PLACEMENTS[1..] {
            let (found, statistics) = run(gpu, rule.as_ref(), *placement);
            assert!(found.bits() == expected.bits(), "{} {placement:?}", rule.name());
            found.check_canaries();
            assert_eq!(statistics[3], expected_statistics[3], "{} {placement:?}", rule.name());
        }
    }
}

#[test]
fn subgroups_find_what_workgroup_memory_finds() {
    let Some(gpu) = subgroups() else { return };
    for rule in rules() {
        let (_, found) = run(gpu, rule.as_ref(), Placement::Arena);
        let (_, expected) = run(Gpu::default(), rule.as_ref(), Placement::Arena);
        for (found, expected) in found.iter().zip(&expected) {
            let counts = |s: &Statistics| (s.skipped, s.non_finite, s.first_non_finite.clone());
            assert_eq!(counts(found), counts(expected));
            let near = |a: f32, b: f32| {
                a == b || (a - b).abs() <= 2e-6 * b.abs() || (a.is_nan() && b.is_nan())
            };
            assert!(near(found.grad_norm, expected.grad_norm), "{found:?} for {expected:?}");
            for (found, expected) in found.parameters.iter().zip(&expected.parameters) {
                let (a, b) = (found.norms.expect("kept"), expected.norms.expect("kept"));
                let norms = [(a.grad, b.grad), (a.param, b.param), (a.update, b.update)];
                assert!(norms.iter().all(|&(a, b)| near(a, b)), "{a:?} for {b:?}");
            }
        }
        let bad = found[1].first_non_finite.clone().expect("a bad element");
        assert_eq!((bad.parameter.as_str(), bad.index), ("p3", 200));
    }
}
