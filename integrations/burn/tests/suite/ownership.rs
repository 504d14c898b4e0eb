//! Values that others hold never change, those that the module holds do, and memory that nobody
//! holds is freed.

use crate::common::{
    Bag, Net, bits, data, device, numbers, other_device, parameter, register, values,
};
use burn::module::{Module, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Tensor;
use wgpu_optim_burn::{Fuse, FusedOptimizer};

fn adam() -> FusedOptimizer {
    AdamConfig::new().init_fused()
}

/// One parameter of a vector's length.
#[derive(Module, Debug)]
struct One {
    weight: Param<Tensor<2>>,
}

impl One {
    fn new() -> Self {
        Self { weight: parameter([6, 10], 1, &device()) }
    }

    /// After its first step, which copies small parameters in any case.
    fn settled(optimizer: &mut FusedOptimizer) -> Self {
        Self::new().step(optimizer, 0)
    }

    fn step(self, optimizer: &mut FusedOptimizer, step: usize) -> Self {
        let mut grads = GradientsParams::new();
        register(&mut grads, &self.weight, step);
        optimizer.step(0.1, self, grads)
    }
}

#[test]
fn a_cloned_model_keeps_its_values() {
    let device = device();
    let mut optimizer = adam();
    let mut model = Bag::new(&device);
    for step in 0..3 {
        let before = bits(&model);
        let checkpoint = model.clone();
        let grads = model.grads(step);
        model = optimizer.step(0.1, model, grads);
        assert_eq!(bits(&checkpoint), before);
        for (old, new) in before.iter().zip(bits(&model)) {
            assert_ne!(*old, new, "every parameter has moved");
        }
    }
}

#[test]
fn a_view_keeps_its_values() {
    let mut optimizer = adam();
    let mut model = One::new();
    for step in 0..3 {
        // A reshape may share the allocation under a tensor of its own, once it has run.
        let view = model.weight.val().inner().reshape([60]);
        view.device().sync().unwrap();
        let before = data(view.clone());
        model = model.step(&mut optimizer, step);
        assert_eq!(data(view), before);
        assert_ne!(data(model.weight.val()), before);
    }
}

#[test]
fn a_transposed_view_keeps_its_values() {
    let mut optimizer = adam();
    let model = One::settled(&mut optimizer);
    let view = model.weight.val().inner().transpose();
    let before = data(view.clone());
    let model = model.step(&mut optimizer, 1);
    assert_eq!(data(view), before);
    assert_ne!(data(model.weight.val().inner().transpose()), before);
}

#[test]
fn a_tensor_of_another_thread_keeps_its_values() {
    let mut optimizer = adam();
    let model = One::settled(&mut optimizer);
    let before = data(model.weight.val());
    let held = model.weight.val().inner();
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        asked.recv().unwrap();
        data(held)
    });
    let model = model.step(&mut optimizer, 1);
    ask.send(()).unwrap();
    assert_eq!(thread.join().unwrap(), before);
    assert_ne!(data(model.weight.val()), before);
}

/// A model and its optimizer after a step on this thread.
fn stepped() -> (One, FusedOptimizer) {
    let mut optimizer = adam();
    (One::settled(&mut optimizer), optimizer)
}

#[test]
fn a_model_of_another_thread_is_updated() {
    let step = |(model, mut optimizer): (One, _)| model.step(&mut optimizer, 1);
    let here = step(stepped());
    let there = step(std::thread::spawn(stepped).join().unwrap());
    assert_eq!(bits(&here), bits(&there));
    let new = std::thread::spawn(One::new).join().unwrap().step(&mut adam(), 0);
    assert_eq!(bits(&new), bits(&stepped().0));
}

#[test]
fn a_model_updated_on_another_thread_is_read_here() {
    let there = std::thread::spawn(|| stepped().0).join().unwrap();
    assert_eq!(bits(&stepped().0), bits(&there));
}

#[test]
fn a_gradient_that_is_held_keeps_its_values() {
    let model = One::new();
    let grad = numbers([6, 10], 5, &device().inner());
    let before = data(grad.clone());
    let mut grads = GradientsParams::new();
    grads.register(model.weight.id, grad.clone());
    let _model = adam().step(0.1, model, grads);
    assert_eq!(data(grad), before);
}

/// A parameter that is its own gradient.
#[test]
fn a_gradient_may_be_the_parameter() {
    let apart = {
        let model = One::new();
        let mut grads = GradientsParams::new();
        grads.register(model.weight.id, numbers([6, 10], 1, &device().inner()));
        adam().step(0.1, model, grads)
    };
    let model = One::new();
    let mut grads = GradientsParams::new();
    grads.register(model.weight.id, model.weight.val().inner());
    let together = adam().step(0.1, model, grads);
    assert_eq!(bits(&apart), bits(&together));
}

/// The tensor's elements, in memory as those of the transposed one.
fn stored_transposed(tensor: Tensor<2>) -> Tensor<2> {
    let values = tensor.transpose().into_data();
    Tensor::<2>::from_data(values, &device().inner()).transpose()
}

#[test]
fn transposed_parameters_and_gradients_are_taken_by_their_elements() {
    let (model, mut optimizer) = stepped();
    let plain = model.step(&mut optimizer, 1);

    let transposed = |mut model: One| {
        let weight = stored_transposed(model.weight.val().inner());
        model.weight =
            Param::initialized(model.weight.id, Tensor::from_inner(weight).require_grad());
        model
    };
    let (model, mut optimizer) = stepped();
    let later = transposed(model).step(&mut optimizer, 1);
    assert_eq!(bits(&plain), bits(&later));
    let first = transposed(One::new()).step(&mut adam(), 0);
    assert_eq!(bits(&stepped().0), bits(&first));

    let (model, mut optimizer) = stepped();
    let mut grads = GradientsParams::new();
    grads.register(model.weight.id, stored_transposed(numbers([6, 10], 1001, &device().inner())));
    let model = optimizer.step(0.1, model, grads);
    assert_eq!(bits(&plain), bits(&model));
}

/// Two places of one parameter: a weight that is tied.
#[derive(Module, Debug)]
struct Tied {
    first: Param<Tensor<2>>,
    second: Param<Tensor<2>>,
}

#[test]
fn shared_frozen_and_gradientless_parameters_are_as_in_burn() {
    let weight = parameter([4, 4], 1, &device());
    let model = Tied { first: weight.clone(), second: weight };
    let step = |fused: bool| {
        let mut grads = GradientsParams::new();
        register(&mut grads, &model.first, 0);
        match fused {
            true => adam().step(0.1, model.clone(), grads),
            false => AdamConfig::new().init().step(0.1, model.clone(), grads),
        }
    };
    let (ours, burn) = (values(&step(true)), values(&step(false)));
    assert!(crate::common::difference(&ours, &burn) < 1e-6);
    assert_eq!(ours[1], values(&model)[1], "Burn does not update the second one");

    let mut net = Net::new(&device());
    net.first = net.first.no_grad();
    let before = values(&net);
    let grads = net.grads(0);
    let net = adam().step(0.1, net, grads);
    let after = values(&net);
    assert_eq!(before[..2], after[..2], "frozen");
    assert_ne!(before[2], after[2]);
    assert!(!net.first.weight.is_require_grad());
    assert!(net.second.weight.is_require_grad());
}

#[test]
fn a_parameter_that_misses_gradients_is_as_in_burn() {
    let model = Bag::new(&device());
    let mut ours = (model.clone(), AdamConfig::new().init_fused());
    let mut burn = (model, AdamConfig::new().init());
    for step in 0..8 {
        let given = |model: &Bag| {
            let mut grads = model.grads(step);
            // One comes late, one misses a step.
            if step < 2 {
                grads.remove::<2>(model.weights[1].id);
            }
            if step == 3 {
                grads.remove::<1>(model.bias.id);
            }
            grads
        };
        let grads = given(&ours.0);
        ours.0 = ours.1.step(0.01, ours.0, grads);
        let grads = given(&burn.0);
        burn.0 = burn.1.step(0.01, burn.0, grads);
    }
    let difference = crate::common::difference(&values(&ours.0), &values(&burn.0));
    assert!(difference < 2e-6, "{difference}");
}

#[test]
fn nothing_to_do_is_no_error() {
    let model = Bag::new(&device());
    let before = bits(&model);
    let model = adam().step(0.1, model, GradientsParams::new());
    assert_eq!(bits(&model), before);
}

#[test]
fn memory_that_nobody_holds_is_freed() {
    const SIDE: usize = 1 << 10;
    let (device, setup) = other_device();
    let mut model = One { weight: parameter([SIDE, SIDE], 1, device) };
    let mut optimizer = adam();
    let mut allocated = || {
        for step in 0..20 {
            // A clone, so that the parameter moves in each step.
            model = model.clone().step(&mut optimizer, step);
        }
        device.sync().unwrap();
        let report = setup.device.generate_allocator_report();
        report.map(|report| report.total_allocated_bytes)
    };
    let Some(before) = allocated() else { return };
    let grown = allocated().unwrap().saturating_sub(before);
    assert!(grown < 10 * 4 * (SIDE * SIDE) as u64, "{grown} bytes more after 20 steps");
}
