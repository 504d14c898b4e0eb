//! Refusals name the parameter, what was expected, found, and what to do; and nothing changes.

use crate::common::{Bag, bits, device, numbers, parameter};
use burn::module::{Module, Param, ParamId};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use burn::tensor::{DType, Device, DeviceKind, FloatDType, Tensor};
use wgpu_optim_burn::rules::Adam;
use wgpu_optim_burn::{Error, Fuse, FusedConfig};

fn refused(config: &FusedConfig, model: Bag, grads: GradientsParams) -> String {
    let before = bits(&model);
    let refused = config.init().try_step(0.1, model, grads).expect_err("refused");
    assert_eq!(bits(&refused.module), before);
    refused.to_string()
}

#[test]
fn a_gradient_of_another_shape() {
    let model = Bag::new(&device());
    let mut grads = model.grads(0);
    grads.register(model.bias.id, numbers([71], 1, &device().inner()));
    let message = refused(&AdamConfig::new().fused(), model, grads);
    assert_eq!(
        message,
        "parameter `bias`: expected a gradient of the parameter's shape [70], found [71]. \
         Give each parameter its own gradient"
    );
}

#[test]
fn a_parameter_of_another_type() {
    #[derive(Module, Debug)]
    struct Half {
        weight: Param<Tensor<1>>,
    }
    let weight = Tensor::<1>::zeros([4], &device()).cast(FloatDType::F16).require_grad();
    assert_eq!(weight.dtype(), DType::F16);
    let model = Half { weight: Param::initialized(ParamId::new(), weight) };
    let mut grads = GradientsParams::new();
    grads.register(model.weight.id, Tensor::<1>::zeros([4], &device().inner()));
    let error = AdamConfig::new().init_fused().try_step(0.1, model, grads).expect_err("refused");
    let message = error.to_string();
    assert!(message.contains("`weight`") && message.contains("F16"), "{message}");
}

#[test]
fn a_hyperparameter_out_of_range() {
    let model = Bag::new(&device());
    let grads = model.grads(0);
    let rule = Adam { eps: -1.0, ..Default::default() };
    let message = refused(&FusedConfig::new(rule), model, grads);
    assert!(message.contains("`eps`"), "{message}");
}

#[test]
fn a_learning_rate_out_of_range() {
    let model = Bag::new(&device());
    let before = bits(&model);
    let mut optimizer = AdamConfig::new().init_fused();
    let grads = model.grads(0);
    let model = optimizer.try_step(f64::NAN, model, grads).expect_err("refused").module;
    assert_eq!(bits(&model), before);
    let grads = model.grads(0);
    let model = optimizer.step(0.1, model, grads);
    let bits_after = bits(&model);
    let grads = model.grads(1);
    let model = optimizer.try_step(-1.0, model, grads).expect_err("refused").module;
    assert_eq!(bits(&model), bits_after);
}

#[test]
fn a_device_that_nobody_announced() {
    let setup = Device::wgpu_options().device_kind(DeviceKind::IntegratedGpu(0)).init_with_setup();
    // Machines without a second adapter cannot show it.
    let Ok((device, _)) = setup else { return };
    let weight = parameter([3], 1, &device.autodiff());
    let mut grads = GradientsParams::new();
    crate::common::register(&mut grads, &weight, 1);
    let refused = AdamConfig::new().init_fused().try_step(0.1, weight, grads).expect_err("refused");
    assert!(refused.error.to_string().contains("init_device"), "{refused}");
}

#[test]
fn settings_that_our_rules_do_not_have() {
    let momentum = MomentumConfig::new().with_nesterov(true);
    let dampened = SgdConfig::new().with_momentum(Some(momentum)).try_fused();
    let error = dampened.expect_err("refused");
    assert!(matches!(error, Error::Config { .. }) && error.to_string().contains("Burn's `init()`"));
}
