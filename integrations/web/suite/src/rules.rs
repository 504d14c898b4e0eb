//! Every rule and option, judged as on other devices.

use crate::arrays::{Buffers, lens, name, read};
use crate::common::cases::{cases, label};
use crate::common::exact::check_step;
use crate::common::random::Random;
use crate::gpu::Gpu;
use wgpu_optim::{DynRule, Optimizer, Param};

const STEPS: u64 = 3;

pub async fn steps_are_the_cpus_in_every_placement(gpu: &Gpu) {
    for rule in cases() {
        let arena = lens().iter().enumerate().map(|(i, &len)| Param::new(name(i), len)).collect();
        follow(gpu, rule.as_ref(), arena).await;
        let buffers = Buffers::new(gpu);
        follow(gpu, rule.as_ref(), buffers.params()).await;
        buffers.check(gpu).await;
    }
}

/// Takes steps and judges each.
async fn follow(gpu: &Gpu, rule: &dyn DynRule, params: Vec<Param>) {
    let builder = Optimizer::builder().group(rule.boxed(), params);
    let mut optimizer = builder.build_async(&gpu.device, &gpu.queue).await.expect("built");
    let mut random = Random::new(7);
    let mut arrays =
        || -> Vec<_> { lens().iter().map(|&len| random.wide_vec(len, -18.0, 18.0)).collect() };
    for (i, values) in arrays().iter().enumerate() {
        optimizer.set_param(name(i), values).expect("set");
    }
    let mut before = read(&optimizer).await;
    for step in 1..=STEPS {
        let grads = arrays();
        for (i, grad) in grads.iter().enumerate() {
            optimizer.set_grad(name(i), grad).expect("set");
        }
        gpu.step(&mut optimizer);
        let after = read(&optimizer).await;
        for (i, grad) in grads.iter().enumerate() {
            if let Err(mismatch) = check_step(rule, step, &before[i], grad, &after[i]) {
                panic!("{} step {step} p{i}: {mismatch:?}", label(rule));
            }
        }
        before = after;
    }
}
