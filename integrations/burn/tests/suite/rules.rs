//! Every rule, and one of one's own, steps a model of Burn's as the core crate's CPU optimizer steps arrays in f64.

use crate::common::{Bag, bits, device, difference, series, values};
use cautious_lion::CautiousLion;
use wgpu_optim_burn::wgpu_optim::{CpuOptimizer, DynRule, rules};
use wgpu_optim_burn::{FusedConfig, FusedOptimizer};

#[path = "../../../../examples/custom_rule/cautious_lion.rs"]
mod cautious_lion;

const STEPS: usize = 6;

/// f32 against f64, after some steps.
const ROUNDING: f32 = 2e-6;

fn all() -> Vec<Box<dyn DynRule>> {
    let own = CautiousLion { lr: 1e-3, betas: (0.9, 0.99) };
    rules::all().into_iter().chain([own.boxed()]).collect()
}

/// Not the rule's own, which the optimizer is not to use.
fn lr(rule: &dyn DynRule) -> f64 {
    0.7 * rule.lr()
}

/// Steps with each parameter's number as the seed of its gradients, as [`Bag::grads`] has it.
fn on_the_cpu(rule: &dyn DynRule, start: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let f64s = |values: &[f32]| values.iter().map(|&value| value.into()).collect::<Vec<f64>>();
    let params = start.iter().enumerate().map(|(index, values)| (index.to_string(), values.len()));
    let mut own = rule.boxed();
    own.set_lr(lr(rule));
    let mut optimizer = CpuOptimizer::builder().group(own, params).build().unwrap();
    for (index, values) in start.iter().enumerate() {
        optimizer.set_param(&index.to_string(), &f64s(values)).unwrap();
    }
    for step in 0..STEPS {
        for (index, values) in start.iter().enumerate() {
            let seed = if index + 1 == start.len() { 9 } else { index };
            let grad = series(values.len(), 1000 + step * 10 + seed);
            optimizer.set_grad(&index.to_string(), &f64s(&grad)).unwrap();
        }
        optimizer.step().unwrap();
    }
    let param =
        |index: usize| optimizer.param(&index.to_string()).unwrap().mapv(|x| x as f32).to_vec();
    (0..start.len()).map(param).collect()
}

fn steps(
    rule: &dyn DynRule,
    mut model: Bag,
    optimizer: &mut FusedOptimizer,
    steps: std::ops::Range<usize>,
) -> Bag {
    for step in steps {
        let grads = model.grads(step);
        model = optimizer.step(lr(rule), model, grads);
    }
    model
}

#[test]
fn every_rule_agrees_with_the_cpus() {
    for rule in all() {
        let model = Bag::new(&device());
        let start = values(&model);
        let model = steps(&*rule, model, &mut FusedConfig::new(rule.boxed()).init(), 0..STEPS);
        let difference = difference(&values(&model), &on_the_cpu(&*rule, &start));
        assert_ne!(values(&model), start, "{rule:?}");
        assert!(difference < ROUNDING, "{rule:?}: {difference}");
    }
}

#[test]
fn every_rule_resumes_from_bytes_bit_for_bit() {
    for rule in all() {
        let new = || FusedConfig::new(rule.boxed()).init();
        let through = steps(&*rule, Bag::new(&device()), &mut new(), 0..STEPS);
        let mut first = new();
        let model = steps(&*rule, Bag::new(&device()), &mut first, 0..STEPS / 2);
        let mut second = new().from_bytes(first.into_bytes().unwrap()).unwrap();
        let resumed = steps(&*rule, model, &mut second, STEPS / 2..STEPS);
        assert_eq!(bits(&through), bits(&resumed), "{rule:?}");
    }
}
