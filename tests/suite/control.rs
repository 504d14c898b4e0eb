//! What surrounds a step: clipping, scaling, skipping, on the GPU and its twin on the CPU.

use crate::common::cases::{cases, label};
use crate::common::gpu::Gpu;
use crate::common::model::{Model, PLACEMENTS, Placement, name};
use crate::common::random::Random;
use proptest::prelude::*;
use wgpu_optim::{
    Adam, AdamW, CpuOptimizer, DynRule, GradScaler, NAdam, Optimizer, Param, RAdam, SGD, wgpu,
};

/// The bits of every parameter and state.
fn bits(model: &Model) -> Vec<Vec<Vec<u32>>> {
    let of = |arrays: Vec<Vec<f32>>| -> Vec<Vec<u32>> {
        arrays.iter().map(|array| array.iter().map(|x| x.to_bits()).collect()).collect()
    };
    model.arrays().into_iter().map(|arrays| of(arrays.0)).collect()
}

/// Gradients of a model for a step.
fn gradients(random: &mut Random, lens: &[usize]) -> Vec<Vec<f32>> {
    lens.iter().map(|&len| random.wide_vec(len, -2.0, 2.0)).collect()
}

const LENS: [usize; 6] = [1, 300, 5, 0, 1024, 257];

/// Where nothing is skipped or clipped, steps that the GPU decides on are those that the host computes, bit for
/// bit, whatever the rule: the same coefficients come out of the recorded programs.
#[test]
fn a_step_that_the_gpu_decides_on_is_the_plain_one() {
    let gpu = Gpu::default();
    for rule in cases() {
        let build = |scaled: bool| {
            let mut builder = Optimizer::builder()
                .group(rule.boxed(), LENS.iter().enumerate().map(|(i, &len)| (name(i), len)));
            if scaled {
                builder = builder.grad_scaler(GradScaler::constant(1.0));
            }
            let optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
            Model::of(gpu, optimizer, &LENS)
        };
        let (mut plain, mut decided) = (build(false), build(true));
        for model in [&plain, &decided] {
            model.randomize(&mut Random::new(1), -2.0, 2.0);
        }
        let mut random = Random::new(2);
        for step in 1..=12 {
            let grads = gradients(&mut random, &LENS);
            for model in [&mut plain, &mut decided] {
                model.set_grads(&grads);
                model.step();
            }
            assert!(bits(&plain) == bits(&decided), "{} step {step}", label(rule.as_ref()));
        }
    }
}

/// The same from any step on: up to ten million, where f32 would have lost count of β^t long ago.
#[test]
fn coefficients_are_the_hosts_at_any_step() {
    let gpu = Gpu::default();
    let rules: [Box<dyn DynRule>; 4] = [
        Adam { betas: (0.9, 0.9999), ..Default::default() }.into(),
        RAdam::default().into(),
        NAdam::default().into(),
        wgpu_optim::Adagrad { lr_decay: 1e-3, ..Default::default() }.into(),
    ];
    for rule in rules {
        let build = |scaled: bool| {
            let mut builder = Optimizer::builder().group(rule.boxed(), [("w", 64)]);
            if scaled {
                builder = builder.grad_scaler(GradScaler::constant(1.0));
            }
            let optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
            let random = &mut Random::new(3);
            optimizer.set_param("w", &random.wide_vec(64, -2.0, 2.0)).expect("set");
            optimizer.set_grad("w", &random.wide_vec(64, -2.0, 2.0)).expect("set");
            optimizer
        };
        let (mut plain, mut decided) = (build(false), build(true));
        for behind in [0, 1, 4, 5, 100, 65_535, 1_000_003, 9_999_998] {
            for optimizer in [&mut plain, &mut decided] {
                optimizer.set_steps("w", behind).expect("set");
                let mut encoder = gpu.encoder();
                optimizer.step(&mut encoder).expect("recorded");
                optimizer.step(&mut encoder).expect("recorded");
                gpu.submit(encoder);
                assert_eq!(optimizer.steps("w").expect("known"), behind + 2);
            }
            let read = |o: &Optimizer| o.read_param("w").and_then(|r| r.wait()).expect("read");
            let same =
                read(&plain).iter().zip(read(&decided)).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{} from step {behind} on", rule.name());
        }
    }
}
