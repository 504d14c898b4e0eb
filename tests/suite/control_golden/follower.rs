//! Optimizers that follow a case, on the CPU and on the GPU.

use super::case::Case;
use crate::common::gpu::Gpu;
use std::collections::BTreeMap;
use wgpu_optim::{CpuOptimizer, DynRule, NonFinite, Optimizer, Real};

/// What an optimizer tells of a step; `None` where it does not tell.
#[derive(Debug, Default)]
pub struct Told {
    pub norm: Option<f64>,
    pub clip: Option<f64>,
    pub scale: Option<f32>,
    pub next_scale: Option<f32>,
    pub growth_tracker: Option<u32>,
    pub is_skipped: Option<bool>,
    pub skipped: Option<u64>,
    pub steps: Option<u64>,
    pub non_finite: Option<(u32, Option<NonFinite>)>,
}

/// An optimizer that follows.
pub trait Follower {
    fn add_group(&mut self, rule: Box<dyn DynRule>, params: Vec<(String, usize)>) -> usize;
    fn set_param(&mut self, name: &str, values: &[f32]);
    /// Sets a gradient to the sum of these, added up in the optimizer's own arithmetic.
    fn set_grad(&mut self, name: &str, micro_batches: &[Vec<f32>], scale: f32);
    fn set_frozen(&mut self, name: &str, frozen: bool);
    fn set_lr(&mut self, group: usize, lr: f64);
    fn set_max_norm(&mut self, max_norm: f64);
    fn step(&mut self, case: &Case) -> Told;
    fn param(&self, name: &str) -> Vec<f64>;
    fn state(&self, name: &str, state: &str) -> Vec<f64>;
    fn taken(&self, name: &str) -> u64;
}

/// Sums of micro-batches' gradients.
pub fn sums<T: Copy + std::ops::Add<Output = T>>(
    micro_batches: &[Vec<f32>],
    convert: impl Fn(f32) -> T,
) -> Vec<T> {
    let element = |index: usize| {
        let values = micro_batches.iter().map(|gradient| convert(gradient[index]));
        values.reduce(|sum, value| sum + value).expect("a micro-batch")
    };
    (0..micro_batches[0].len()).map(element).collect()
}

impl<T: Real> Follower for CpuOptimizer<T> {
    fn add_group(&mut self, rule: Box<dyn DynRule>, params: Vec<(String, usize)>) -> usize {
        self.add_group(rule, params).expect("added")
    }
    fn set_param(&mut self, name: &str, values: &[f32]) {
        let values: Vec<T> = values.iter().map(|&x| T::from_f64(x.into())).collect();
        self.set_param(name, &values).expect("set");
    }
    fn set_grad(&mut self, name: &str, micro_batches: &[Vec<f32>], scale: f32) {
        // PyTorch rounds the scale's reciprocal to f32, even where gradients are f64. That is exact
        // for powers of two; for others these gradients make up for it.
        let reciprocal = f64::from((1.0 / f64::from(scale)) as f32) * f64::from(scale);
        let gradient = sums(micro_batches, |g| T::from_f64(f64::from(g) * reciprocal));
        self.set_grad(name, &gradient).expect("set");
    }
    fn set_frozen(&mut self, name: &str, frozen: bool) {
        self.set_frozen([name], frozen).expect("known");
    }
    fn set_lr(&mut self, group: usize, lr: f64) {
        self.set_lr(group, lr).expect("set");
    }
    fn set_max_norm(&mut self, max_norm: f64) {
        self.set_clip_grad_norm(max_norm).expect("set");
    }
    fn step(&mut self, case: &Case) -> Told {
        let scale = self.loss_scale().ok();
        let skipped = self.skipped();
        self.step().expect("stepped");
        Told {
            norm: case.decides().then(|| self.grad_norm()),
            scale,
            next_scale: self.loss_scale().ok(),
            is_skipped: Some(self.skipped() > skipped),
            skipped: Some(self.skipped()),
            ..Told::default()
        }
    }
    fn param(&self, name: &str) -> Vec<f64> {
        self.param(name).expect("known").iter().map(|x| x.to_f64()).collect()
    }
    fn state(&self, name: &str, state: &str) -> Vec<f64> {
        self.state(name, state).expect("known").iter().map(|x| x.to_f64()).collect()
    }
    fn taken(&self, name: &str) -> u64 {
        self.steps(name).expect("known")
    }
}

/// An optimizer on the GPU, and the steps of its parameters as last told.
pub struct OnGpu {
    pub gpu: &'static Gpu,
    pub optimizer: Optimizer,
    pub has_statistics: bool,
    pub taken: BTreeMap<String, u64>,
}

fn widened(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

impl Follower for OnGpu {
    fn add_group(&mut self, rule: Box<dyn DynRule>, params: Vec<(String, usize)>) -> usize {
        self.optimizer.add_group(rule, params).expect("added")
    }
    fn set_param(&mut self, name: &str, values: &[f32]) {
        self.optimizer.set_param(name, values).expect("set");
    }
    fn set_grad(&mut self, name: &str, micro_batches: &[Vec<f32>], _: f32) {
        self.optimizer.set_grad(name, &sums(micro_batches, |g| g)).expect("set");
    }
    fn set_frozen(&mut self, name: &str, frozen: bool) {
        self.optimizer.set_frozen([name], frozen).expect("known");
    }
    fn set_lr(&mut self, group: usize, lr: f64) {
        self.optimizer.set_lr(group, lr).expect("set");
    }
    fn set_max_norm(&mut self, max_norm: f64) {
        self.optimizer.set_clip_grad_norm(max_norm).expect("set");
    }
    fn step(&mut self, case: &Case) -> Told {
        let mut encoder = self.gpu.encoder();
        self.optimizer.step(&mut encoder).expect("recorded");
        self.gpu.submit(encoder);
        if !self.has_statistics && !case.decides() {
            return Told::default();
        }
        let read = self.optimizer.read_statistics().and_then(|r| r.wait()).expect("read");
        if case.scaler.is_some() {
            // Where an engine finds it.
            let buffer = self.gpu.read(self.optimizer.loss_scale().expect("a scale"));
            assert_eq!(f32::from_bits(buffer[0]), read.next_loss_scale, "{}", case.name);
        }
        self.taken = read.parameters.into_iter().map(|p| (p.name, p.steps.into())).collect();
        Told {
            norm: Some(read.grad_norm.into()),
            clip: Some(read.clip.into()),
            scale: Some(read.loss_scale),
            next_scale: Some(read.next_loss_scale),
            growth_tracker: Some(read.growth_tracker),
            is_skipped: Some(read.is_skipped),
            skipped: Some(read.skipped.into()),
            steps: Some(read.steps.into()),
            non_finite: Some((read.non_finite, read.first_non_finite)),
        }
    }
    fn param(&self, name: &str) -> Vec<f64> {
        widened(self.optimizer.read_param(name).and_then(|r| r.wait()).expect("read"))
    }
    fn state(&self, name: &str, state: &str) -> Vec<f64> {
        widened(self.optimizer.read_state(name, state).and_then(|r| r.wait()).expect("read"))
    }
    fn taken(&self, name: &str) -> u64 {
        match self.taken.get(name) {
            Some(&steps) => steps,
            None => self.optimizer.steps(name).expect("known"),
        }
    }
}
