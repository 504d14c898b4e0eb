//! Steps equal those of Burn's own optimizers, within rounding.

use crate::common::{Net, device, difference, values};
use burn::optim::{AdamConfig, ModuleOptimizer};
use wgpu_optim_burn::rules::Adam;
use wgpu_optim_burn::{FusedConfig, FusedOptimizer};

/// After some steps on the same batches: ours and Burn's parameters.
fn both(mut ours: FusedOptimizer, mut burn: ModuleOptimizer, steps: usize) -> f32 {
    let device = device();
    let (mut a, mut b) = (Net::new(&device), Net::new(&device));
    assert_eq!(values(&a), values(&b));
    for batch in 0..steps {
        let grads = a.grads(batch);
        a = ours.step(1e-2, a, grads);
        let grads = b.grads(batch);
        b = burn.step(1e-2, b, grads);
    }
    difference(&values(&a), &values(&b))
}

#[test]
fn adam() {
    let ours = FusedConfig::new(Adam { eps: 1e-5, ..Default::default() }).init();
    let difference = both(ours, AdamConfig::new().init(), 20);
    assert!(difference < 1e-5, "{difference}");
    assert!(difference > 0.0, "two implementations round differently");
}
