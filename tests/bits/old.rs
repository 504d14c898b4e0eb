//! What the program asks of the crate and what may differ between commits, as it was in 0.30.

use wgpu_optim::{DynRule, Optimizer, Param, Statistics, wgpu};

/// A rule of any type.
pub type Rule = Box<dyn DynRule>;

pub fn copy(rule: &Rule) -> Rule {
    rule.boxed()
}

/// The names of the states in use.
pub fn states(rule: &Rule) -> Vec<&'static str> {
    rule.states().iter().map(|state| state.name).collect()
}

/// A parameter and its gradient at these bytes of these buffers.
pub fn placed(name: &str, len: usize, places: [(&wgpu::Buffer, u64); 2]) -> Param {
    let [(param, param_offset), (grad, grad_offset)] = places;
    Param::new(name, len).buffers(param, grad).offsets(param_offset, grad_offset)
}

/// All numbers of the latest step's statistics; `None` if the optimizer keeps none.
pub fn statistics(optimizer: &Optimizer) -> Option<Vec<f64>> {
    let found = optimizer.read_statistics().ok()?.wait().expect("read");
    let Statistics { grad_norm, clip, loss_scale, next_loss_scale, .. } = found;
    let mut numbers = [grad_norm, clip, loss_scale, next_loss_scale].map(f64::from).to_vec();
    let counts = [found.growth_tracker, found.is_skipped.into(), found.skipped, found.steps];
    numbers.extend(counts.map(f64::from));
    numbers.push(found.non_finite.into());
    numbers.extend(found.first_non_finite.map(|first| first.index as f64));
    for parameter in found.parameters {
        numbers.push(parameter.steps.into());
        let norms = parameter.norms.map(|norms| [norms.grad, norms.param, norms.update]);
        numbers.extend(norms.into_iter().flatten().map(f64::from));
    }
    Some(numbers)
}
