//! Groups, learning rates, accumulated and clipped gradients.

use crate::common::{Bag, Net, bits, data, device, difference, values};
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, SgdConfig};
use wgpu_optim_burn::rules::{AdamW, SGD};
use wgpu_optim_burn::{Fuse, FusedConfig};

#[test]
fn biases_and_norms_go_without_decay() {
    let decay = AdamW { weight_decay: 0.5, eps: 1e-5, ..Default::default() };
    let without = AdamW { weight_decay: 0.0, ..decay };
    let rest = || ParamGroup::from_regex(r"(bias|gamma|beta)$").unwrap();
    let mut ours = FusedConfig::new(decay).with_group(rest(), without).init();
    let burn = AdamWConfig::new().with_weight_decay(0.5);
    let mut burn =
        burn.init().with_group(rest(), burn.clone().with_weight_decay(0.0).build(), None);
    let (mut a, mut b) = (Net::new(&device()), Net::new(&device()));
    for step in 0..3 {
        let grads = a.grads(step);
        a = ours.step(0.05, a, grads);
        let grads = b.grads(step);
        b = burn.step(0.05, b, grads);
    }
    assert!(difference(&values(&a), &values(&b)) < 1e-4);
}

#[test]
fn schedulers_of_burn_set_the_rate_of_each_step_and_group() {
    let cosine = || CosineAnnealingLrSchedulerConfig::new(0.1, 5).init().unwrap();
    let biases = || ParamGroup::from_predicate("bias");
    let schedule = || cosine().with_group(biases(), 0.1);
    let (mut of_ours, mut of_burn) = (schedule(), schedule());
    let (mut ours, mut burn) = (SgdConfig::new().init_fused(), SgdConfig::new().init());
    let (mut a, mut b) = (Bag::new(&device()), Bag::new(&device()));
    // The rates of the two groups are the same at first, and differ later.
    for step in 0..6 {
        let grads = a.grads(step);
        a = ours.step(of_ours.step(), a, grads);
        let grads = b.grads(step);
        b = burn.step(of_burn.step(), b, grads);
    }
    let difference = difference(&values(&a), &values(&b));
    assert!(difference < 2e-6, "{difference}");
}

#[test]
fn accumulated_gradients_are_summed_ones() {
    let model = Bag::new(&device());
    let mut accumulator = GradientsAccumulator::new();
    accumulator.accumulate(&model, model.grads(1));
    accumulator.accumulate(&model, model.grads(2));
    let ours = SgdConfig::new().init_fused().step(0.1, model.clone(), accumulator.grads());
    accumulator.accumulate(&model, model.grads(1));
    accumulator.accumulate(&model, model.grads(2));
    let burn = SgdConfig::new().init().step(0.1, model, accumulator.grads());
    assert!(difference(&values(&ours), &values(&burn)) < 1e-6);
}

/// The norm is that of all gradients, not of each.
#[test]
fn the_global_norm_is_clipped() {
    let model = Bag::new(&device());
    let grads = |model: &Bag| -> Vec<f32> {
        let mut grads = model.grads(0);
        let mut all = Vec::new();
        for weight in &model.weights {
            all.extend(data(grads.remove::<2>(weight.id).unwrap()));
        }
        all.extend(data(grads.remove::<1>(model.bias.id).unwrap()));
        all
    };
    let norm = grads(&model).iter().map(|g| g * g).sum::<f32>().sqrt();
    let max_norm = 0.25;
    let sgd = SGD { ..Default::default() };
    let mut optimizer = FusedConfig::new(sgd).with_clip_grad_norm(max_norm.into()).init();
    let before = values(&model).concat();
    let expected = grads(&model);
    let given: GradientsParams = model.grads(0);
    let after = values(&optimizer.step(1.0, model, given)).concat();
    for ((before, after), grad) in before.iter().zip(after).zip(expected) {
        assert!((before - after - grad * max_norm / norm).abs() < 1e-6);
    }
}

#[test]
fn groups_that_split_later_keep_their_states() {
    use wgpu_optim_burn::rules::Adam;
    let run = |split: bool| {
        let mut optimizer = FusedConfig::new(Adam::default()).init();
        let mut model = Bag::new(&device());
        for step in 0..5 {
            let grads = model.grads(step);
            // A group of its own, whose rate differs in one step only.
            let rate = if split && step == 3 { 0.0 } else { 0.01 };
            let mut schedule =
                ModuleLrScheduler::new(0.01).with_group(ParamGroup::from_predicate("bias"), rate);
            model = optimizer.step(schedule.step(), model, grads);
        }
        bits(&model)
    };
    let (split, together) = (run(true), run(false));
    assert_eq!(split[..3], together[..3], "the other parameters are the same");
    assert_ne!(split[3], together[3]);
}
