//! Burn's pending work runs before our step, and our step before Burn's later work.

use crate::common::{Bag, bits, data, device, numbers, parameter};
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Tensor;
use wgpu_optim_burn::Fuse;

#[derive(Module, Debug)]
struct One {
    weight: Param<Tensor<1>>,
}

/// Long enough that kernels take a while.
const LEN: usize = 1 << 18;

#[test]
fn reads_and_writes_come_in_the_order_they_were_asked_for() {
    let device = device();
    let mut optimizer = SgdConfig::new().init_fused();
    let mut model = One { weight: parameter([LEN], 1, &device) };
    let mut expected = data(model.weight.val())[LEN - 1];
    let mut seen = Vec::new();
    for step in 0..5 {
        // Read before the step: pending while the step is asked for.
        let before = model.weight.val().inner().mul_scalar(1.0) + 0.0;
        // A gradient that is pending too, and made of the parameter.
        let grad = model.weight.val().inner().mul_scalar(0.5).add_scalar(step as f32);
        let mut grads = GradientsParams::new();
        grads.register(model.weight.id, grad);
        model = optimizer.step(0.5, model, grads);
        // And after it.
        let after = model.weight.val().inner().mul_scalar(2.0);
        seen.push((before, after, expected));
        expected -= 0.5 * (expected * 0.5 + step as f32);
        seen.last_mut().unwrap().2 = expected;
    }
    let mut last = data(numbers([LEN], 1, &device.inner()))[LEN - 1];
    for (before, after, expected) in seen {
        assert!((data(before)[LEN - 1] - last).abs() < 1e-4);
        assert!((data(after)[LEN - 1] - 2.0 * expected).abs() < 1e-4);
        last = expected;
    }
}

#[test]
fn a_run_is_the_same_bit_for_bit_whether_or_not_it_waits() {
    let run = |wait: bool| {
        let mut optimizer = SgdConfig::new().init_fused();
        let mut model = Bag::new(&device());
        for step in 0..10 {
            let grads = model.grads(step);
            model = optimizer.step(0.01, model, grads);
            if wait {
                device().sync().unwrap();
            }
        }
        bits(&model)
    };
    assert_eq!(run(true), run(false));
}

#[derive(Module, Debug)]
struct Many {
    weights: Vec<Param<Tensor<1>>>,
}

/// Burn gives each parameter that a module's initializer makes a buffer of its own.
#[test]
fn parameters_of_modules_share_a_dispatch() {
    const LAYERS: usize = 30;
    #[derive(Module, Debug)]
    struct Layers {
        layers: Vec<Linear>,
    }
    let device = device();
    let layer = |_| LinearConfig::new(8, 8).init(&device);
    let mut model = Layers { layers: (0..LAYERS).map(layer).collect() };
    let mut optimizer = SgdConfig::new().init_fused();
    for step in 0..2 {
        let input = numbers([4, 8], step, &device);
        let output = model.layers.iter().fold(input, |input, layer| layer.forward(input).tanh());
        let grads = GradientsParams::from_grads(output.sum().backward(), &model);
        model = optimizer.step(0.1, model, grads);
        let dispatches = optimizer.dispatches().unwrap();
        assert!(dispatches <= LAYERS / 5, "{dispatches} dispatches");
    }
}

/// As many tensors as a large model has, and a few buffers.
#[test]
fn tensors_of_one_buffer_share_a_dispatch() {
    const TENSORS: usize = 200;
    let weight = |seed| parameter([1000], seed, &device());
    let mut model = Many { weights: (0..TENSORS).map(weight).collect() };
    let mut optimizer = SgdConfig::new().init_fused();
    for step in 0..2 {
        let mut grads = GradientsParams::new();
        for (index, weight) in model.weights.iter().enumerate() {
            crate::common::register(&mut grads, weight, index + step);
        }
        model = optimizer.step(0.1, model, grads);
        let dispatches = optimizer.dispatches().unwrap();
        assert!(dispatches <= TENSORS / 20, "{dispatches} dispatches");
    }
}
