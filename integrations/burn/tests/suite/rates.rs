//! Learning rates that begin to differ between parameters of one group, and agree again.

use crate::common::{Bag, bits, changed, device, other_device};
use crate::rules::every_rule;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{ParamGroup, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn::tensor::wgpu::WgpuSetup;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wgpu_optim_burn::rules::Adam;
use wgpu_optim_burn::wgpu_optim::{DynRule, wgpu};
use wgpu_optim_burn::{FusedConfig, FusedOptimizer};

/// The three weights of a bag, and its bias.
const PARAMS: usize = 4;

const A: f64 = 0.01;
const B: f64 = 0.003;
const C: f64 = 0.02;

/// The learning rates of each step; `None` where a parameter has no gradient.
const STEPS: [[Option<f64>; PARAMS]; 8] = [
    [Some(A); PARAMS],
    [Some(A); PARAMS],
    [Some(A), Some(B), Some(A), Some(B)],
    [Some(B), Some(A), None, Some(C)],
    [Some(0.0), Some(0.0), Some(C), Some(C)],
    [Some(A); PARAMS],
    [None, Some(C), Some(B), Some(B)],
    [Some(B); PARAMS],
];

fn ids(model: &Bag) -> [ParamId; PARAMS] {
    let [a, b, c] = [0, 1, 2].map(|weight| model.weights[weight].id);
    [a, b, c, model.bias.id]
}

fn group(id: ParamId) -> ParamGroup {
    ParamGroup::from_ids(vec![id])
}

/// A learning rate for each parameter.
fn rates(model: &Bag, lrs: [Option<f64>; PARAMS]) -> ModuleLearningRate {
    let given = ids(model).into_iter().zip(lrs).filter_map(|(id, lr)| Some((id, lr?)));
    let schedule = given
        .fold(ModuleLrScheduler::new(A), |schedule, (id, lr)| schedule.with_group(group(id), lr));
    { schedule }.step()
}

/// Gradients for the parameters that have a learning rate.
fn grads(model: &Bag, step: usize, lrs: [Option<f64>; PARAMS]) -> GradientsParams {
    let mut grads = model.grads(step);
    for (weight, lr) in model.weights.iter().zip(lrs) {
        if lr.is_none() {
            grads.remove::<2>(weight.id);
        }
    }
    if lrs[PARAMS - 1].is_none() {
        grads.remove::<1>(model.bias.id);
    }
    grads
}

/// The bits of the parameters after each step, and the record of all states and step counts.
fn run(config: &FusedConfig, start: &Bag) -> (Vec<Vec<Vec<u32>>>, Vec<u8>) {
    let mut optimizer = config.init();
    let mut model = start.clone();
    let mut seen = Vec::new();
    for (step, lrs) in STEPS.into_iter().enumerate() {
        let (rates, grads) = (rates(&model, lrs), grads(&model, step, lrs));
        model = optimizer.step(rates, model, grads);
        seen.push(bits(&model));
    }
    // The settings list groups, which may differ.
    let record = changed(optimizer.to_record(), |_| true, |_| true, |name| name != "wgpu_optim");
    (seen, record.into_bytes().unwrap().to_vec())
}

/// The same rule for all parameters: in one group, or in a group for each, where learning rates
/// never differ.
fn together_and_apart(rule: &dyn DynRule, start: &Bag) -> [FusedConfig; 2] {
    let together = FusedConfig::new(rule.boxed());
    let apart = ids(start)
        .into_iter()
        .fold(together.clone(), |config, id| config.with_group(group(id), rule.boxed()));
    [together, apart]
}

#[test]
fn parameters_change_groups_with_their_states_and_step_counts() {
    for rule in every_rule() {
        let start = Bag::new(&device());
        let configs = together_and_apart(&*rule, &start);
        let [together, apart] = configs.map(|config| run(&config, &start));
        assert!(together == apart, "{rule:?}");
    }
}

/// Where a norm is clipped, the GPU counts the steps.
#[test]
fn parameters_change_groups_with_the_step_counts_of_the_gpu() {
    for rule in every_rule() {
        let start = Bag::new(&device());
        let configs = together_and_apart(&*rule, &start);
        let clipped = configs.map(|config| run(&config.with_clip_grad_norm(0.5), &start));
        let [together, apart] = clipped;
        assert!(together == apart, "{rule:?}");
    }
}

/// Each step has two rates that no step had before, and another parameter has the second.
#[test]
fn groups_are_used_again() {
    let mut optimizer = FusedConfig::new(Adam::default()).init();
    let mut model = Bag::new(&device());
    for step in 0..3 * PARAMS {
        let mut lrs = [Some(A / (step + 1) as f64); PARAMS];
        lrs[step % PARAMS] = Some(C / (step + 1) as f64);
        let (rates, grads) = (rates(&model, lrs), grads(&model, step, lrs));
        model = optimizer.step(rates, model, grads);
    }
    let debug = format!("{optimizer:?}");
    assert!(debug.contains("groups: 2"), "{debug}");
}

#[test]
fn a_refused_rate_changes_nothing() {
    let start = Bag::new(&device());
    let run = |refusal: bool| {
        let mut optimizer = FusedConfig::new(Adam::default()).init();
        let mut model = start.clone();
        for step in 0..4 {
            for lr in [f64::NAN, -1.0] {
                if refusal && step > 0 {
                    let before = bits(&model);
                    let lrs = [Some(A), Some(B), Some(A), Some(lr)];
                    let (rates, grads) = (rates(&model, lrs), grads(&model, step, lrs));
                    model = optimizer.try_step(rates, model, grads).expect_err("refused").module;
                    assert_eq!(bits(&model), before);
                }
            }
            let lrs = if step == 2 { [Some(A), Some(B), Some(C), Some(A)] } else { STEPS[0] };
            let (rates, grads) = (rates(&model, lrs), grads(&model, step, lrs));
            model = optimizer.step(rates, model, grads);
        }
        (bits(&model), optimizer.into_bytes().unwrap().to_vec())
    };
    assert!(run(true) == run(false));
}

/// A device that no other test submits to.
fn device_of_its_own() -> (Device, WgpuSetup) {
    let (_, shared) = other_device();
    let features = shared.device.features();
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features.difference(wgpu::Features::all_experimental_mask()),
        required_limits: shared.device.limits(),
        ..Default::default()
    };
    let request = pin!(shared.adapter.request_device(&descriptor));
    let Poll::Ready(made) = request.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("native devices are made at once");
    };
    let (device, queue) = made.expect("another device");
    let setup = WgpuSetup { device, queue, ..shared.clone() };
    let device = Device::wgpu_options().setup(setup.clone()).init().unwrap();
    wgpu_optim_burn::share_device(&device, &setup);
    (device.autodiff(), setup)
}

/// Submissions so far, with one that this makes.
fn submissions(setup: &WgpuSetup) -> u64 {
    let index = format!("{:?}", setup.queue.submit([]));
    let digits: String = index.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number in {index}"))
}

/// Every readback is a submission.
#[test]
fn nothing_is_read_back_when_rates_differ() {
    let (device, setup) = device_of_its_own();
    let mut optimizer: FusedOptimizer = FusedConfig::new(Adam::default()).init();
    let mut model = Bag::new(&device);
    let mut submitted = Vec::new();
    for (step, lrs) in [
        [Some(A); PARAMS],
        [Some(A); PARAMS],
        [Some(A); PARAMS],
        [Some(A), Some(B), Some(A), Some(B)],
        [Some(B), Some(A), Some(C), Some(C)],
        [Some(A); PARAMS],
    ]
    .into_iter()
    .enumerate()
    {
        let (rates, grads) = (rates(&model, lrs), grads(&model, step, lrs));
        device.sync().unwrap();
        let before = submissions(&setup);
        model = optimizer.step(rates, model, grads);
        submitted.push(submissions(&setup) - before);
    }
    let before = submissions(&setup);
    drop(optimizer.to_record());
    let readback = submissions(&setup) - before;
    assert!(readback > submitted[2], "a readback is seen: {readback} against {submitted:?}");
    // The first two steps make memory and kernels.
    assert_eq!(submitted[3..], [submitted[2]; 3], "{submitted:?}");
}
