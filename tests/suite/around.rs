//! What happens around every rule: `maximize` and both kinds of weight decay, for rules of one's
//! own too, with the same result on every path; and refusals of what no step can use.

use crate::common::gpu::Gpu;
use crate::common::random::Random;
use proptest::prelude::*;
use wgpu_optim::{
    AdamW, After, Before, CpuOptimizer, DynRule, Error, GradScaler, Lion, NoSums, Number,
    Optimizer, Real, Rule, Step, fields,
};

fields! {
    struct PlainCoeffs { lr, momentum }
}
fields! {
    struct PlainState { buffer }
}

/// Momentum, with whatever a rule may ask to happen around it.
#[derive(Debug, Clone)]
struct Plain {
    lr: f64,
    momentum: f64,
    before: Before,
    after: After,
}

impl Rule for Plain {
    const NAME: &'static str = "plain";
    const WGSL: &'static str = "
        struct Coeffs { lr: f32, momentum: f32 }
        struct State { buffer: Real }
        fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
            (*s).buffer = c.momentum * (*s).buffer + g;
            return p - c.lr * (*s).buffer;
        }";
    type Coeffs<T: Copy> = PlainCoeffs<T>;
    type State<T: Copy> = PlainState<T>;
    type Sums<T: Copy> = NoSums;

    fn lr(&self) -> f64 {
        self.lr
    }
    fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }
    fn coeffs<N: Number>(&self, _: Step<N>, _: &[N]) -> PlainCoeffs<N> {
        PlainCoeffs { lr: self.lr.into(), momentum: self.momentum.into() }
    }
    fn update<T: Real>(&self, c: &PlainCoeffs<T>, p: T, g: T, s: &mut PlainState<T>) -> T {
        s.buffer = c.momentum * s.buffer + g;
        p - c.lr * s.buffer
    }
    fn before(&self) -> Before {
        self.before
    }
    fn after(&self) -> After {
        self.after
    }
}

const LEN: usize = 300;
const STEPS: usize = 5;

/// The gradients of each step.
fn gradients() -> Vec<Vec<f32>> {
    let mut random = Random::new(12);
    (0..STEPS).map(|_| random.wide_vec(LEN, -3.0, 1.0)).collect()
}

fn start() -> Vec<f32> {
    Random::new(13).wide_vec(LEN, -3.0, 1.0)
}

fn on_gpu(rule: &Plain, scaler: Option<GradScaler>) -> Vec<f32> {
    let gpu = Gpu::default();
    let mut builder = Optimizer::builder().group(rule.clone(), [("w", LEN)]);
    if let Some(scaler) = scaler {
        builder = builder.grad_scaler(scaler);
    }
    let mut optimizer = builder.build(&gpu.device, &gpu.queue).expect("built");
    optimizer.set_param("w", &start()).expect("set");
    for gradient in gradients() {
        optimizer.set_grad("w", &gradient).expect("set");
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
    }
    optimizer.read_param("w").and_then(|r| r.wait()).expect("read")
}

fn on_cpu<T: Real>(rule: &Plain) -> Vec<f64> {
    let mut optimizer =
        CpuOptimizer::<T>::builder().group(rule.clone(), [("w", LEN)]).build().expect("built");
    let typed =
        |values: &[f32]| -> Vec<T> { values.iter().map(|&x| T::from_f64(f64::from(x))).collect() };
    optimizer.set_param("w", &typed(&start())).expect("set");
    for gradient in gradients() {
        optimizer.set_grad("w", &typed(&gradient)).expect("set");
        optimizer.step().expect("stepped");
    }
    optimizer.param("w").expect("known").iter().map(|x| x.to_f64()).collect()
}

/// The formula itself, in f64, without the crate.
fn by_hand(rule: &Plain) -> Vec<f64> {
    let gradients = gradients();
    let one = |element: usize| {
        let (mut p, mut buffer) = (f64::from(start()[element]), 0.0);
        for gradient in &gradients {
            let g = f64::from(gradient[element]);
            let g = if rule.before.maximize { -g } else { g } + rule.before.weight_decay * p;
            buffer = rule.momentum * buffer + g;
            p = p - rule.lr * buffer - rule.after.decay * p;
        }
        p
    };
    (0..LEN).map(one).collect()
}

/// Off by how many times the largest magnitude that the element and its terms can have, in f32's
/// ulps.
fn off(found: &[f64], expected: &[f64], rule: &Plain) -> f64 {
    let growth = (1.0 + rule.after.decay + rule.lr * rule.before.weight_decay).powi(STEPS as i32);
    let largest = 10.0 * growth * (1.0 + 5.0 * rule.lr);
    let ulps = |(a, b): (&f64, &f64)| (a - b).abs() / (largest * f64::from(f32::EPSILON));
    found.iter().zip(expected).map(ulps).fold(0.0, f64::max)
}

fn rules() -> impl Strategy<Value = Plain> {
    let decay = || prop_oneof![Just(0.0), 1e-6..0.5f64];
    (any::<bool>(), decay(), decay(), 0.0..0.5f64, 0.0..0.99f64).prop_map(
        |(maximize, weight_decay, decay, lr, momentum)| Plain {
            lr,
            momentum,
            before: Before { maximize, weight_decay },
            after: After { decay },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    /// CPU, GPU, and GPU where it decides about steps and computes coefficients itself.
    #[test]
    fn every_path_does_the_same(rule in rules()) {
        let expected = by_hand(&rule);
        let plain = on_gpu(&rule, None);
        let scaled = on_gpu(&rule, Some(GradScaler::constant(1.0)));
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        prop_assert!(bits(&plain) == bits(&scaled), "the GPU's two paths differ");
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        for (found, ulps) in
            [(on_cpu::<f64>(&rule), 1e-4), (on_cpu::<f32>(&rule), 8.0), (wide(plain), 8.0)]
        {
            let off = off(&found, &expected, &rule);
            prop_assert!(off <= ulps, "off by {off} ulps, at most {ulps}");
        }
    }
}

/// What no step can use is refused wherever a rule comes in.
#[test]
fn what_a_rule_asks_for_is_validated_on_every_path() {
    let gpu = Gpu::default();
    let good = Plain { lr: 0.1, momentum: 0.5, before: Before::default(), after: After::default() };
    let with = |weight_decay: f64, decay: f64| Plain {
        before: Before { maximize: false, weight_decay },
        after: After { decay },
        ..good.clone()
    };
    for (bad, name) in [
        (with(-0.1, 0.0), "before().weight_decay"),
        (with(f64::NAN, 0.0), "before().weight_decay"),
        (with(1e300, 0.0), "before().weight_decay"),
        (with(0.0, -1e-9), "after().decay"),
        (with(0.0, f64::INFINITY), "after().decay"),
    ] {
        let mut optimizer = Optimizer::builder()
            .group(good.clone(), [("w", 3)])
            .build(&gpu.device, &gpu.queue)
            .expect("built");
        let mut cpu =
            CpuOptimizer::<f32>::builder().group(good.clone(), [("w", 3)]).build().expect("built");
        let refused: [Result<(), Error>; 5] = [
            Optimizer::builder()
                .group(bad.clone(), [("w", 3)])
                .build(&gpu.device, &gpu.queue)
                .map(|_| ()),
            CpuOptimizer::<f64>::builder().group(bad.clone(), [("w", 3)]).build().map(|_| ()),
            optimizer.set_rule(0, bad.clone()),
            optimizer.add_group(bad.clone(), [("v", 3)]).map(|_| ()),
            cpu.set_rule(0, bad.clone()),
        ];
        for refused in refused {
            let message = refused.expect_err("out of range").to_string();
            assert!(message.contains(name) && message.contains("plain"), "{message}");
        }
        assert_eq!(optimizer.groups(), 1, "nothing was added");
    }
}

/// 10⁵ steps of decay alone: f32 stays at the exact power, as far as roundings to either side take
/// it. With 1 − lr·weight_decay rounded first, the error grows by the same amount in each step.
#[test]
fn decoupled_decay_does_not_drift() {
    const STEPS: u32 = 100_000;
    let gpu = Gpu::default();
    let rules: [Box<dyn DynRule>; 2] = [
        AdamW { lr: 3e-4, weight_decay: 0.1, ..Default::default() }.into(),
        Lion { lr: 3e-4, weight_decay: 0.1, ..Default::default() }.into(),
    ];
    let starts: Vec<f32> = (0..64).map(|i| 1.0 + i as f32 / 77.0).collect();
    let expected: Vec<_> =
        starts.iter().map(|&x| f64::from(x) * (1.0 - 3e-4 * 0.1f64).powi(STEPS as i32)).collect();
    let worst_and_mean = |found: &[f32]| {
        let off = |(&a, &b): (&f32, &f64)| (f64::from(a) - b) / b;
        let off: Vec<_> = found.iter().zip(&expected).map(off).collect();
        let mean = off.iter().sum::<f64>() / off.len() as f64;
        (off.iter().fold(0f64, |worst, x| worst.max(x.abs())), mean.abs())
    };
    for rule in rules {
        let mut cpu = CpuOptimizer::<f32>::builder()
            .group(rule.boxed(), [("w", starts.len())])
            .build()
            .expect("built");
        let mut optimizer = Optimizer::builder()
            .group(rule.boxed(), [("w", starts.len())])
            .build(&gpu.device, &gpu.queue)
            .expect("built");
        cpu.set_param("w", &starts).expect("set");
        optimizer.set_param("w", &starts).expect("set");
        for chunk in 0..STEPS / 100 {
            let mut encoder = gpu.encoder();
            for _ in 0..100 {
                cpu.step().expect("stepped");
                optimizer.step(&mut encoder).expect("recorded");
            }
            gpu.submit(encoder);
            if chunk % 10 == 0 {
                gpu.device.poll(wgpu_optim::wgpu::PollType::wait_indefinitely()).expect("polled");
            }
        }
        let on_gpu = optimizer.read_param("w").and_then(|r| r.wait()).expect("read");
        let on_cpu = cpu.param("w").expect("known").to_vec();
        for (found, place) in [(on_cpu, "CPU"), (on_gpu, "GPU")] {
            let (worst, mean) = worst_and_mean(&found);
            // The factor 1 − 3e-5, rounded, is off by 8.6e-9: 8.6e-4 after 10⁵ steps.
            assert!(worst < 2e-4 && mean < 5e-5, "{} on the {place}: {worst}, {mean}", rule.name());
        }
    }
}
