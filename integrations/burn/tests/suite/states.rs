//! States survive clones, moves, saving and loading.

use crate::common::{Bag, bits, device, other_device, values};
use crate::rules::every_rule;
use burn::module::Module;
use burn::optim::{AdamConfig, OptimizerRecord};
use wgpu_optim_burn::{Fuse, FusedConfig, FusedOptimizer};

pub fn steps(mut model: Bag, optimizer: &mut FusedOptimizer, steps: std::ops::Range<usize>) -> Bag {
    for step in steps {
        let grads = model.grads(step);
        model = optimizer.step(0.01, model, grads);
    }
    model
}

/// A second optimizer that goes on where the first stopped, by way of the record.
fn resumed(rule: &FusedConfig, by: impl Fn(FusedOptimizer, FusedOptimizer) -> FusedOptimizer) {
    let start = Bag::new(&device());
    let uninterrupted = steps(start.clone(), &mut rule.init(), 0..6);
    let mut first = rule.init();
    let model = steps(start, &mut first, 0..3);
    let mut second = by(first, rule.init());
    let model = steps(model, &mut second, 3..6);
    assert_eq!(bits(&model), bits(&uninterrupted));
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_bit_for_bit() {
    for rule in every_rule() {
        let config = FusedConfig::new(rule);
        resumed(&config, |first, second| second.load_record(first.to_record()));
        resumed(&config, |first, second| second.from_bytes(first.into_bytes().unwrap()).unwrap());
    }
}

#[test]
fn records_pass_through_bytes_and_files() {
    let config = AdamConfig::new().fused();
    resumed(&config, |first, second| second.from_bytes(first.into_bytes().unwrap()).unwrap());
    let path = std::env::temp_dir().join(format!("wgpu-optim-burn-{}.bpk", std::process::id()));
    resumed(&config, |first, second| {
        first.to_record().save(&path).unwrap();
        second.load_record(OptimizerRecord::load(&path).unwrap())
    });
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_record_survives_an_optimizer_that_takes_no_step() {
    resumed(&AdamConfig::new().fused(), |first, second| {
        let idle = second.load_record(first.to_record());
        AdamConfig::new().init_fused().load_record(idle.to_record())
    });
}

#[test]
fn a_cloned_optimizer_goes_on_by_itself() {
    resumed(&AdamConfig::new().fused(), |first, _| {
        let clone = first.clone();
        steps(Bag::new(&device()), &mut { first }, 0..1);
        clone
    });
}

#[test]
fn a_cloned_model_is_the_same_to_the_optimizer() {
    let start = Bag::new(&device());
    let plain = steps(start.clone(), &mut AdamConfig::new().init_fused(), 0..4);
    let mut optimizer = AdamConfig::new().init_fused();
    let mut model = start;
    for step in 0..4 {
        model = steps(model.clone(), &mut optimizer, step..step + 1);
    }
    assert_eq!(bits(&model), bits(&plain));
}

#[test]
fn a_model_that_moves_takes_its_states_along() {
    let (other, _) = other_device();
    let start = Bag::new(&device());
    let stayed = steps(start.clone(), &mut AdamConfig::new().init_fused(), 0..6);
    let mut optimizer = AdamConfig::new().init_fused();
    let model = steps(start, &mut optimizer, 0..2);
    let model = steps(model.fork(other), &mut optimizer, 2..4);
    assert_eq!(model.bias.device(), *other);
    let model = steps(model.fork(&device()), &mut optimizer, 4..6);
    assert_eq!(values(&model), values(&stayed));
}
