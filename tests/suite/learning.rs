//! Every rule learns, on the GPU: a quadratic, and Rosenbrock's curved valley.

use crate::common::cases::{label, variants};
use crate::common::facts;
use crate::common::gpu::Gpu;
use wgpu_optim::{DynRule, Optimizer};

/// Value and gradient at a point.
type Function = fn(&[f32]) -> (f64, Vec<f32>);

/// An ill-conditioned bowl: Σ ½·k·(x_k − 1)², k = 1 … n.
fn quadratic(x: &[f32]) -> (f64, Vec<f32>) {
    let weight = |k: usize| (k + 1) as f32;
    let value = x.iter().enumerate().map(|(k, &x)| f64::from(0.5 * weight(k) * (x - 1.0).powi(2)));
    (value.sum(), x.iter().enumerate().map(|(k, &x)| weight(k) * (x - 1.0)).collect())
}

/// ((1 − x)² + 100·(y − x²)²)/100: its gradients are of the size of those in training.
fn rosenbrock(at: &[f32]) -> (f64, Vec<f32>) {
    let (x, y) = (f64::from(at[0]), f64::from(at[1]));
    let valley = y - x * x;
    let gradient = [-0.02 * (1.0 - x) - 4.0 * x * valley, 2.0 * valley];
    (0.01 * (1.0 - x).powi(2) + valley.powi(2), gradient.map(|g| g as f32).to_vec())
}

/// The function's value after some steps.
fn minimize(rule: &dyn DynRule, lr: f64, f: Function, start: &[f32], steps: usize) -> f64 {
    let gpu = Gpu::default();
    let mut rule = rule.boxed();
    rule.set_lr(lr);
    let mut optimizer = Optimizer::builder()
        .group(rule, [("x", start.len())])
        .build(&gpu.device, &gpu.queue)
        .expect("built");
    optimizer.set_param("x", start).expect("set");
    let mut x = start.to_vec();
    for step in 0..steps {
        // The last third anneals, so that rules with steps of constant length come to rest.
        let left = (steps - step) as f64 / (steps as f64 / 3.0);
        optimizer.set_lr(0, lr * left.min(1.0)).expect("in range");
        optimizer.set_grad("x", &f(&x).1).expect("set");
        let mut encoder = gpu.encoder();
        optimizer.step(&mut encoder).expect("recorded");
        gpu.submit(encoder);
        x = optimizer.read_param("x").and_then(|r| r.wait()).expect("read");
    }
    f(&x).0
}

/// Learning rates for the quadratic and Rosenbrock's function.
fn learning_rates(rule: &dyn DynRule) -> [f64; 2] {
    (facts::of(rule.name()).expect("a rule of the crate").rates)(rule)
}

#[test]
fn every_rule_minimizes_a_quadratic() {
    for rule in variants() {
        let start = [-1.0, 3.0, 0.0, 5.0, -4.0, 0.5, 2.0, -2.0, 1.5, -0.5];
        let [lr, _] = learning_rates(rule.as_ref());
        let (before, _) = quadratic(&start);
        let after = minimize(rule.as_ref(), lr, quadratic, &start, 400);
        assert!(after < 1e-4 * before, "{}: {before} → {after}", label(rule.as_ref()));
    }
}

#[test]
fn every_rule_descends_rosenbrocks_valley() {
    for rule in variants() {
        let start = [-1.2, 1.0];
        let [_, lr] = learning_rates(rule.as_ref());
        let (before, _) = rosenbrock(&start);
        let after = minimize(rule.as_ref(), lr, rosenbrock, &start, 3000);
        assert!(after < 1e-2 * before, "{}: {before} → {after}", label(rule.as_ref()));
    }
}
