//! Momentum that is scheduled from 0 and to 0: the buffer stays.

use crate::common::gpu::Gpu;
use wgpu_optim::schedule::{Cyclic, Schedule};
use wgpu_optim::{CpuOptimizer, DynRule, Optimizer, RMSprop, SGD};

/// From 0 up to 0.9 and down again, twice, by a schedule.
fn momenta() -> Vec<f64> {
    let cyclic = Cyclic { step_size_up: 3, base_momentum: 0.0, ..Cyclic::new(0.1, 0.1) };
    let schedule = Schedule::from(cyclic);
    schedule.validate().expect("valid");
    let momenta: Vec<_> = (3..15).map(|step| schedule.momentum(step).expect("cycled")).collect();
    assert!(momenta[0] == 0.0 && momenta[3] == 0.9 && momenta[6] == 0.0, "{momenta:?}");
    momenta
}

fn grad(step: usize) -> [f64; 2] {
    [0.5 + step as f64, if step.is_multiple_of(3) { -1.0 } else { 0.25 }]
}

/// Runs a rule whose momentum changes on the CPU and on the GPU: parameters after each step must
/// be those of `formula`, which takes momentum, gradient, step and the element's memory.
fn follow<R: Into<Box<dyn DynRule>> + Copy>(
    built: R,
    with: impl Fn(f64) -> R,
    formula: impl Fn(f64, f64, usize, &mut [f64; 2]) -> f64,
) {
    let gpu = Gpu::default();
    let mut on_gpu = Optimizer::builder()
        .group(built.into(), [("w", 2)])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    let mut cpu =
        CpuOptimizer::<f64>::builder().group(built.into(), [("w", 2)]).build().expect("built");
    let (mut p, mut memory) = ([0.0; 2], [[0.0; 2]; 2]);
    for (step, momentum) in momenta().into_iter().enumerate() {
        let g = grad(step);
        on_gpu.set_rule(0, with(momentum)).expect("numbers may change");
        cpu.set_rule(0, with(momentum)).expect("numbers may change");
        on_gpu.set_grad("w", &g.map(|g| g as f32)).expect("set");
        cpu.set_grad("w", &g).expect("set");
        let mut encoder = gpu.encoder();
        on_gpu.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
        cpu.step().expect("stepped");
        let found = on_gpu.read_param("w").and_then(|r| r.wait()).expect("read");
        for i in 0..2 {
            p[i] -= formula(momentum, g[i], step, &mut memory[i]);
            let off = |found: f64| (found - p[i]).abs() / p[i].abs().max(1.0);
            assert!(off(cpu.param("w").expect("there")[i]) < 1e-13, "CPU, step {step}");
            assert!(off(f64::from(found[i])) < 1e-5, "GPU, step {step}: {} {}", found[i], p[i]);
        }
    }
}

const LR: f64 = 0.1;

#[test]
fn sgd_warms_its_momentum_up_from_zero() {
    let zero = SGD { lr: LR, keep_momentum_buffer: true, ..Default::default() };
    let damped = SGD { dampening: 0.4, ..zero };
    follow(
        damped,
        |momentum| SGD { momentum, ..damped },
        |momentum, g, step, [buf, _]| {
            *buf = momentum * *buf + if step == 0 { g } else { (1.0 - 0.4) * g };
            LR * *buf
        },
    );
    let nesterov = SGD { nesterov: true, ..zero };
    follow(
        nesterov,
        |momentum| SGD { momentum, ..nesterov },
        |momentum, g, _, [buf, _]| {
            *buf = momentum * *buf + g;
            LR * (g + momentum * *buf)
        },
    );
}

/// Built with a momentum above 0, a run keeps its buffer without being told.
#[test]
fn sgd_keeps_its_buffer_when_momentum_becomes_zero() {
    let built = SGD { lr: LR, momentum: 0.9, nesterov: true, ..Default::default() };
    follow(
        built,
        |momentum| SGD { momentum, ..built },
        |momentum, g, _, [buf, _]| {
            *buf = momentum * *buf + g;
            LR * (g + momentum * *buf)
        },
    );
}

#[test]
fn rmsprop_warms_its_momentum_up_from_zero() {
    let zero = RMSprop { lr: LR, keep_momentum_buffer: true, ..Default::default() };
    let formula = |momentum: f64, g: f64, _, [buf, sq]: &mut [f64; 2]| {
        *sq = 0.99 * *sq + (1.0 - 0.99) * g * g;
        *buf = momentum * *buf + g / (sq.sqrt() + 1e-8);
        LR * *buf
    };
    follow(zero, |momentum| RMSprop { momentum, ..zero }, formula);
    let built = RMSprop { lr: LR, momentum: 0.9, ..Default::default() };
    follow(built, |momentum| RMSprop { momentum, ..built }, formula);
}

/// What a momentum of 0 means by default stays: no buffer, and none later.
#[test]
fn without_being_asked_there_is_no_buffer() {
    for plain in [SGD::default().into(), RMSprop::default().into()] as [Box<dyn DynRule>; 2] {
        assert!(plain.states().iter().all(|state| state.name != "momentum_buffer"));
    }
    let mut cpu =
        CpuOptimizer::<f32>::builder().group(SGD::default(), [("w", 1)]).build().expect("built");
    let late = SGD { momentum: 0.5, ..Default::default() };
    assert!(cpu.set_rule(0, late).is_err(), "there is no buffer to use");
}
