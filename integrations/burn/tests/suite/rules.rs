//! Every rule, and a rule of the user's, steps a model of Burn's as the core crate's CPU optimizer
//! steps arrays in f64.

use crate::common::{Bag, device, difference, values};
use cautious_lion::CautiousLion;
use wgpu_optim_burn::FusedConfig;
use wgpu_optim_burn::wgpu_optim::{CpuOptimizer, DynRule, rules};

#[path = "../../../../examples/custom_rule/cautious_lion.rs"]
mod cautious_lion;

const STEPS: usize = 6;

/// f32 against f64, after some steps.
const ROUNDING: f32 = 2e-6;

pub fn every_rule() -> Vec<Box<dyn DynRule>> {
    let own = CautiousLion { lr: 1e-3, betas: (0.9, 0.99) };
    rules::all().into_iter().chain([own.boxed()]).collect()
}

/// Not the rule's own, which the optimizer is not to use.
fn lr(rule: &dyn DynRule) -> f64 {
    0.7 * rule.lr()
}

fn on_the_cpu(rule: &dyn DynRule, model: &Bag) -> Vec<Vec<f32>> {
    let f64s = |values: &[f32]| values.iter().map(|&value| value.into()).collect::<Vec<f64>>();
    let start = values(model);
    let params = start.iter().enumerate().map(|(index, values)| (index.to_string(), values.len()));
    let mut own = rule.boxed();
    own.set_lr(lr(rule));
    let mut optimizer = CpuOptimizer::builder().group(own, params).build().unwrap();
    for (index, values) in start.iter().enumerate() {
        optimizer.set_param(index.to_string(), &f64s(values)).unwrap();
    }
    for step in 0..STEPS {
        let grads = model.grad_values(&model.grads(step));
        for (index, grad) in grads.iter().enumerate() {
            optimizer.set_grad(index.to_string(), &f64s(grad)).unwrap();
        }
        optimizer.step().unwrap();
    }
    let param =
        |index: usize| optimizer.param(index.to_string()).unwrap().mapv(|x| x as f32).to_vec();
    (0..start.len()).map(param).collect()
}

#[test]
fn every_rule_agrees_with_the_cpus() {
    for rule in every_rule() {
        let start = Bag::new(&device());
        let expected = on_the_cpu(&*rule, &start);
        let mut optimizer = FusedConfig::new(rule.boxed()).init();
        let mut model = start.clone();
        for step in 0..STEPS {
            let grads = model.grads(step);
            model = optimizer.step(lr(&*rule), model, grads);
        }
        let difference = difference(&values(&model), &expected);
        assert_ne!(values(&model), values(&start), "{rule:?}");
        assert!(difference < ROUNDING, "{rule:?}: {difference}");
    }
}
