//! One loss for an encoder and a decoder: what `GradScaler` says to do where PyTorch has one scaler
//! for two optimizers.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use crate::common::steps::Steps;
use wgpu_optim::{AdamW, Builder, CpuOptimizer, GradScaler, Optimizer, SGD};

const LEN: usize = 300;
const MODELS: [&str; 2] = ["encoder", "decoder"];
const STEPS: usize = 12;

/// Steps in which a gradient of the encoder overflows, and of the decoder.
const OVERFLOWS: [&[usize]; 2] = [&[1, 6, 7], &[4, 7]];

/// The decoder takes no part in these steps.
const FROZEN: [usize; 3] = [3, 4, 9];

const SCALER: GradScaler = GradScaler {
    init_scale: 65_536.0,
    growth_factor: 2.0,
    backoff_factor: 0.5,
    growth_interval: 3,
    min_scale: 1.0,
};

fn scale_of(optimizer: &Optimizer) -> f32 {
    let buffer = optimizer.loss_scale().expect("scaled");
    f32::from_bits(Gpu::default().read(buffer)[0])
}

/// The gradients of both models in each step, unscaled.
fn gradients() -> Vec<[Vec<f32>; 2]> {
    let mut random = Random::new(3);
    (0..STEPS).map(|_| [0, 1].map(|_| random.wide_vec(LEN, -2.0, 0.0))).collect()
}

/// A gradient as a backward pass of the scaled loss leaves it.
fn scaled(gradient: &[f32], scale: f32, overflows: bool) -> Vec<f32> {
    let mut scaled: Vec<_> = gradient.iter().map(|g| g * scale).collect();
    if overflows {
        scaled[LEN - 1] = f32::INFINITY;
    }
    scaled
}

fn bits(optimizer: &Optimizer, names: &[&str]) -> Vec<Vec<u32>> {
    let values = optimizer.read_params(names).and_then(|r| r.wait()).expect("read");
    values.iter().map(|values| values.iter().map(|x| x.to_bits()).collect()).collect()
}

/// One optimizer with a group for each model: one scale, moved once a step as PyTorch's `update`
/// moves it, on both engines; and the run is the one without the bad batches.
#[test]
fn one_optimizer_with_a_group_for_each_model_has_one_scale() {
    let groups = |builder: Builder| {
        let builder = builder.group(AdamW::default(), [(MODELS[0], LEN)]);
        builder.group(SGD { lr: 0.5, ..Default::default() }, [(MODELS[1], LEN)])
    };
    let mut optimizer = Steps::build(groups(Optimizer::builder()).grad_scaler(SCALER));
    let mut clean = Steps::build(groups(Optimizer::builder()));
    let mut twin = CpuOptimizer::<f32>::builder()
        .group(AdamW::default(), [(MODELS[0], LEN)])
        .group(SGD { lr: 0.5, ..Default::default() }, [(MODELS[1], LEN)])
        .grad_scaler(SCALER)
        .build()
        .expect("built");
    let (mut scale, mut good) = (SCALER.init_scale, 0);
    for (now, gradients) in gradients().iter().enumerate() {
        let frozen = FROZEN.contains(&now);
        optimizer.set_frozen([MODELS[1]], frozen).expect("known");
        clean.set_frozen([MODELS[1]], frozen).expect("known");
        twin.set_frozen([MODELS[1]], frozen).expect("known");
        for (model, name) in MODELS.iter().enumerate() {
            let overflows = OVERFLOWS[model].contains(&now);
            let arrived = scaled(&gradients[model], scale, overflows);
            optimizer.set_grad(name, &arrived).expect("set");
            twin.set_grad(name, &arrived).expect("set");
            clean.set_grad(name, &gradients[model]).expect("set");
        }
        Steps::step(&mut optimizer);
        twin.step().expect("stepped");
        let bad = OVERFLOWS[0].contains(&now) || (OVERFLOWS[1].contains(&now) && !frozen);
        if bad {
            (scale, good) = (scale * 0.5, 0);
        } else {
            Steps::step(&mut clean);
            good += 1;
            if good == SCALER.growth_interval {
                (scale, good) = (scale * 2.0, 0);
            }
        }
        assert_eq!(scale_of(&optimizer), scale, "step {now}");
        assert_eq!(twin.loss_scale().expect("scaled"), scale, "step {now}");
        assert!(bits(&optimizer, &MODELS) == bits(&clean, &MODELS), "step {now}");
    }
    assert!(scale < SCALER.init_scale && good > 0, "it moved both ways");
}

/// Two optimizers with the same scale that stays: each skips by its own gradients, as PyTorch's
/// `scaler.step` does, and their scales stay the same.
#[test]
fn two_optimizers_with_a_constant_scale_skip_apart() {
    let scaler = GradScaler::constant(1024.0);
    let alone = |name: &str| Optimizer::builder().group(AdamW::default(), [(name, LEN)]);
    let mut optimizers = MODELS.map(|name| Steps::build(alone(name).grad_scaler(scaler)));
    let mut clean = MODELS.map(|name| Steps::build(alone(name)));
    for (now, gradients) in gradients().iter().enumerate() {
        for (model, name) in MODELS.iter().enumerate() {
            let overflows = OVERFLOWS[model].contains(&now);
            let arrived = scaled(&gradients[model], scaler.init_scale, overflows);
            optimizers[model].set_grad(name, &arrived).expect("set");
            Steps::step(&mut optimizers[model]);
            if !overflows {
                clean[model].set_grad(name, &gradients[model]).expect("set");
                Steps::step(&mut clean[model]);
            }
            assert_eq!(scale_of(&optimizers[model]), scaler.init_scale);
            assert!(bits(&optimizers[model], &[name]) == bits(&clean[model], &[name]), "{now}");
        }
    }
}
