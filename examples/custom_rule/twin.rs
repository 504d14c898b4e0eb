//! The optimizer on the CPU that the GPU's results are compared with.

use crate::TENSORS;
use wgpu_optim::{CpuOptimizer, Error, Fields, Optimizer, Real, Rule};

/// The same optimizer on the CPU.
///
/// It takes over the GPU's values before each comparison, and the two are compared after one step.
/// Over many steps they would diverge: where the terms inside `sign` cancel, rounding decides
/// between a step up and a step down.
pub struct Twin<T> {
    pub optimizer: CpuOptimizer<T>,
    states: &'static [&'static str],
}

impl<T: Real> Twin<T> {
    pub fn new<R: Rule>(rule: &R) -> Result<Self, Error> {
        let [first, second] = TENSORS;
        let optimizer = CpuOptimizer::builder()
            .group(rule.clone(), [first])
            .group(rule.clone(), [second])
            .build()?;
        Ok(Self { optimizer, states: <R::State<f64> as Fields<f64>>::NAMES })
    }

    /// Copies the GPU's parameters, gradients, states and learning rates.
    pub fn follow(&mut self, gpu: &Optimizer) -> Result<(), Error> {
        let convert = |values: Vec<f32>| {
            values.into_iter().map(|x| T::from_f64(x.into())).collect::<Vec<_>>()
        };
        for (group, (name, _)) in TENSORS.into_iter().enumerate() {
            self.optimizer.set_lr(group, gpu.rule(group)?.lr())?;
            self.optimizer.set_param(name, &convert(gpu.read_param(name)?.wait()?))?;
            self.optimizer.set_grad(name, &convert(gpu.read_grad(name)?.wait()?))?;
            for state in self.states {
                let values = convert(gpu.read_state(name, state)?.wait()?);
                self.optimizer.set_state(name, state, &values)?;
            }
        }
        Ok(())
    }

    /// Takes a step. Returns the largest difference from the GPU, which has taken the same step.
    pub fn step(&mut self, gpu: &Optimizer) -> Result<f64, Error> {
        self.optimizer.step()?;
        let mut largest = 0.0;
        let mut compare = |own: T, found: f32| {
            let own = own.to_f64();
            let difference = (own - f64::from(found)).abs() / own.abs().max(1.0);
            largest = larger(largest, difference);
        };
        for (name, _) in TENSORS {
            let found = gpu.read_param(name)?.wait()?;
            self.optimizer.param(name)?.iter().zip(found).for_each(|(&p, q)| compare(p, q));
            for state in self.states {
                let found = gpu.read_state(name, state)?.wait()?;
                let own = self.optimizer.state(name, state)?;
                own.iter().zip(found).for_each(|(&s, t)| compare(s, t));
            }
        }
        Ok(largest)
    }
}

/// The larger of two numbers, or NaN if either is NaN, which `f64::max` would drop.
pub fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}
