//! What happens around a step: clipping, scaling with a skipped step, statistics and zeroing.

use crate::arrays::name;
use crate::common::bounds::{self, Stored};
use crate::common::random::Random;
use crate::gpu::Gpu;
use wgpu_optim::internals::Formats;
use wgpu_optim::optimizer::{Builder, Engine};
use wgpu_optim::{CpuOptimizer, DynRule, GradScaler, Optimizer, rules};

const LENS: [usize; 4] = [1, 257, 1024, 5000];

const STEPS: usize = 4;

/// The step whose gradients have an infinity.
const BAD: usize = 1;

/// Rules whose statistics need one storage buffer more than a device has by default.
const BEYOND_DEFAULTS: [&str; 2] = ["adan", "mars"];

fn has_statistics(rule: &dyn DynRule) -> bool {
    !BEYOND_DEFAULTS.contains(&rule.name())
}

fn around<E: Engine>(rule: &dyn DynRule) -> Builder<E> {
    let params = LENS.iter().enumerate().map(|(i, &len)| (name(i), len));
    let builder = Builder::<E>::default().group(rule.boxed(), params);
    let builder = builder.grad_scaler(GradScaler { init_scale: 64.0, ..Default::default() });
    let builder = builder.clip_grad_norm(1.0).zero_grad();
    if has_statistics(rule) { builder.statistics() } else { builder }
}

pub async fn steps_are_the_cpus_with_everything_around_them(gpu: &Gpu) {
    for rule in rules::all() {
        let builder = around::<wgpu_optim::Gpu>(rule.as_ref());
        let mut optimizer = builder.build_async(&gpu.device, &gpu.queue).await.expect("built");
        let mut cpu = around::<wgpu_optim::Cpu<f32>>(rule.as_ref()).build().expect("built");
        let mut random = Random::new(5);
        for (i, len) in LENS.into_iter().enumerate() {
            cpu.set_param(name(i), &random.wide_vec(len, 1e-3, 3.0)).expect("set");
        }
        for step in 0..STEPS {
            for (i, len) in LENS.into_iter().enumerate() {
                let mut grad = random.wide_vec(len, -1.0, 1.0);
                if step == BAD && i == 2 {
                    grad[77] = f32::INFINITY;
                }
                cpu.set_grad(name(i), &grad).expect("set");
                optimizer.set_grad(name(i), &grad).expect("set");
            }
            compare(gpu, rule.as_ref(), &mut optimizer, &mut cpu).await;
            if has_statistics(rule.as_ref()) {
                statistics(&optimizer, &cpu, step).await;
            }
        }
    }
}

/// Takes a step of both from the CPU's arrays, and compares.
async fn compare(
    gpu: &Gpu,
    rule: &dyn DynRule,
    optimizer: &mut Optimizer,
    cpu: &mut CpuOptimizer<f32>,
) {
    let formats = Formats::f32(rule.states().len());
    let states: Vec<_> = rule.states().iter().map(|state| state.name).collect();
    let before: Vec<_> = (0..LENS.len()).map(|i| Stored::of(cpu, &name(i), &states)).collect();
    for (i, before) in before.iter().enumerate() {
        optimizer.set_param(name(i), &before.param).expect("set");
        for (state, bytes) in states.iter().zip(&before.states) {
            optimizer.set_state_bytes(name(i), state, bytes).expect("set");
        }
    }
    gpu.step(optimizer);
    cpu.step().expect("stepped");
    for (i, before) in before.iter().enumerate() {
        let found = stored(optimizer, i, &states).await;
        let expected = Stored::of(cpu, &name(i), &states);
        bounds::check(&format!("{} p{i}", rule.name()), &formats, before, &found, &expected);
        let grad = optimizer.read_grad(name(i)).expect("copied").await.expect("read");
        assert!(grad.iter().all(|&g| g == 0.0), "{} p{i} is zeroed", rule.name());
    }
}

/// What the GPU has of a parameter.
pub async fn stored(optimizer: &Optimizer, param: usize, names: &[&str]) -> Stored {
    let param = name(param);
    let mut states = Vec::new();
    for state in names {
        let read = optimizer.read_state_bytes(&*param, state).expect("copied");
        states.push(read.await.expect("read"));
    }
    let param = optimizer.read_param(&*param).expect("copied").await.expect("read");
    Stored { param, states }
}

/// What is told of the latest step is so.
async fn statistics(optimizer: &Optimizer, cpu: &CpuOptimizer<f32>, step: usize) {
    let found = optimizer.read_statistics().expect("copied").await.expect("read");
    assert_eq!(found.is_skipped, step == BAD);
    assert_eq!(u64::from(found.skipped), cpu.skipped());
    let steps = optimizer.read_steps().expect("copied").await.expect("read");
    let expected = (step + 1) as u64 - cpu.skipped();
    assert!(steps.iter().all(|&steps| steps == expected), "{steps:?} at step {step}");
    if step == BAD {
        let first = found.first_non_finite.expect("an infinity");
        assert_eq!((first.parameter, first.index), (name(2), 77));
    } else {
        let (found, expected) = (f64::from(found.grad_norm), cpu.grad_norm());
        assert!((found - expected).abs() <= 1e-6 * expected, "{found} for {expected}");
    }
}
