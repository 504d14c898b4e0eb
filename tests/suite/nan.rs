//! A NaN in a gradient: what it reaches, in every rule, on the CPU and on the GPU alike.

use crate::common::cases::{cases, label};
use crate::common::gpu::Gpu;
use wgpu_optim::{Builder, CpuBuilder, CpuOptimizer, DynRule, Optimizer, Real};

const LEN: usize = 6;

/// The element whose second gradient is NaN.
const HIT: usize = 2;

/// The gradients of each step.
fn grads() -> [[f32; LEN]; 4] {
    let plain = [0.5, -0.25, 1.5, -1.0, 0.0, 2.0];
    let mut hit = plain;
    hit[HIT] = f32::NAN;
    [plain, hit, plain, plain.map(|g| -g)]
}

/// Where parameter and states are NaN, after each step.
type Found = Vec<Vec<[bool; LEN]>>;

fn where_nan(values: impl IntoIterator<Item = f64>) -> [bool; LEN] {
    let found: Vec<_> = values.into_iter().map(f64::is_nan).collect();
    found.try_into().expect("all elements")
}

fn on_cpu<T: Real>(rule: &dyn DynRule, around: fn(CpuBuilder<T>) -> CpuBuilder<T>) -> Found {
    let builder = CpuOptimizer::<T>::builder().group(rule.boxed(), [("w", LEN)]);
    let mut optimizer = around(builder).build().expect("built");
    let step = |grad: [f32; LEN]| {
        let grad = grad.map(|g| T::from_f64(f64::from(g)));
        optimizer.set_grad("w", &grad).expect("set");
        optimizer.step().expect("stepped");
        let state =
            |name| where_nan(optimizer.state("w", name).expect("there").iter().map(|x| x.to_f64()));
        let param = where_nan(optimizer.param("w").expect("there").iter().map(|x| x.to_f64()));
        [param].into_iter().chain(rule.states().iter().map(|s| state(s.name))).collect()
    };
    grads().into_iter().map(step).collect()
}

fn on_gpu(rule: &dyn DynRule, around: fn(Builder) -> Builder) -> Found {
    let gpu = Gpu::default();
    let builder = Optimizer::builder().group(rule.boxed(), [("w", LEN)]);
    let mut optimizer = around(builder).build(&gpu.device, &gpu.queue).expect("built");
    let step = |grad: [f32; LEN]| {
        optimizer.set_grad("w", &grad).expect("set");
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
        let param = [optimizer.read_param("w")];
        let states = rule.states();
        let states = states.iter().map(|state| optimizer.read_state("w", state.name));
        let read = param.into_iter().chain(states).map(|r| r.and_then(|r| r.wait()).expect("read"));
        read.map(|values| where_nan(values.into_iter().map(f64::from))).collect()
    };
    grads().into_iter().map(step).collect()
}

#[test]
fn a_nan_reaches_its_elements_parameter_in_every_rule() {
    for rule in cases() {
        let rule = rule.as_ref();
        let found = on_cpu::<f64>(rule, |builder| builder);
        assert_eq!(on_cpu::<f32>(rule, |builder| builder), found, "{}", label(rule));
        assert_eq!(on_gpu(rule, |builder| builder), found, "{}", label(rule));
        let clipped = on_gpu(rule, |builder| builder.clip_grad_value(1.0));
        assert_eq!(clipped, found, "{}, clipped by value", label(rule));

        assert!(found[0].iter().flatten().all(|is_nan| !is_nan), "{}", label(rule));
        let reached = |i| i == HIT || !rule.sums().is_empty();
        let expected: [bool; LEN] = std::array::from_fn(reached);
        for (step, arrays) in found.iter().enumerate().skip(1) {
            assert_eq!(arrays[0], expected, "{}, step {step}", label(rule));
        }
        for (state, is_nan) in rule.states().iter().zip(&found[1][1..]) {
            assert_eq!(is_nan[HIT], state.name != "step_size", "{} {}", label(rule), state.name);
        }
    }
}
