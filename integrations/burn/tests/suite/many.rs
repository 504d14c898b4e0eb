//! More parameters than Burn is asked for at once: some have been found before the walk reaches
//! others.

use crate::common::{Bag, bits, device, numbers, values};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Tensor;
use wgpu_optim_burn::{Fuse, FusedOptimizer};

const WEIGHTS: usize = 700;
const LR: f64 = 0.5;

/// Steps by gradients that Burn has still to compute, each twice its parameter: every value becomes
/// zero.
fn step_to_zero(optimizer: &mut FusedOptimizer, model: Bag) -> Bag {
    let mut grads = GradientsParams::new();
    for weight in &model.weights {
        grads.register(weight.id, twice(weight.val()));
    }
    grads.register(model.bias.id, twice(model.bias.val()));
    let model = optimizer.step(LR, model, grads);
    for (index, values) in values(&model).iter().enumerate() {
        assert!(values.iter().all(|&value| value == 0.0), "parameter {index}: {values:?}");
    }
    model
}

fn twice<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.inner().mul_scalar(1.0 / LR)
}

#[test]
fn every_parameter_is_updated_by_its_own_gradient() {
    let mut optimizer = SgdConfig::new().init_fused();
    step_to_zero(&mut optimizer, Bag::of(WEIGHTS, &device()));
}

/// Each parameter must move, by work that Burn is asked for during the walk.
#[test]
fn clones_keep_their_values() {
    let mut optimizer = SgdConfig::new().init_fused();
    let model = Bag::of(WEIGHTS, &device());
    let grads = model.grads(1);
    // The first step copies small parameters in any case.
    let model = optimizer.step(LR, model, grads);
    let (clone, before) = (model.clone(), bits(&model));
    step_to_zero(&mut optimizer, model);
    assert_eq!(bits(&clone), before);
}

/// The error is found when Burn has been asked for other parameters already.
#[test]
fn a_late_refusal_changes_nothing() {
    let mut optimizer = SgdConfig::new().init_fused();
    let model = Bag::of(WEIGHTS, &device());
    let before = bits(&model);
    let mut grads = model.grads(0);
    grads.register(model.bias.id, numbers([71], 1, &device().inner()));
    let refused = optimizer.try_step(LR, model, grads).expect_err("refused");
    assert!(refused.to_string().contains("`bias`"), "{refused}");
    assert_eq!(bits(&refused.module), before);
    step_to_zero(&mut optimizer, refused.module);
}
