//! Steps equal those of Burn's own optimizers, within rounding.

use crate::common::{Bag, Net, device, difference, values};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdamConfig, AdamWConfig, AdanConfig, GradientsParams, LambConfig, LionConfig,
    ModuleOptimizer, RmsPropConfig, SgdConfig,
};
use wgpu_optim_burn::{Fuse, FusedOptimizer};

const STEPS: usize = 6;

/// Two implementations round differently, but no more than this after some steps.
const ROUNDING: f32 = 2e-6;

/// The largest difference between ours and Burn's parameters after the same steps.
fn both<M: Module>(
    model: &M,
    grads: impl Fn(&M, usize) -> GradientsParams,
    mut ours: FusedOptimizer,
    mut burn: ModuleOptimizer,
) -> f32 {
    let (mut a, mut b) = (model.clone(), model.clone());
    for step in 0..STEPS {
        let given = grads(&a, step);
        a = ours.step(1e-2, a, given);
        let given = grads(&b, step);
        b = burn.step(1e-2, b, given);
    }
    assert_ne!(values(model), values(&a), "steps change something");
    difference(&values(&a), &values(&b))
}

fn agree(name: &str, ours: FusedOptimizer, burn: ModuleOptimizer) {
    let difference = both(&Bag::new(&device()), Bag::grads, ours, burn);
    assert!(difference < ROUNDING, "{name}: {difference}");
}

#[test]
fn rules_agree_with_burns() {
    macro_rules! agree {
        ($($config:expr),+ $(,)?) => {
            $(agree(stringify!($config), $config.init_fused(), $config.init());)+
        };
    }
    let decay = || Some(WeightDecayConfig::new(0.1));
    agree!(
        AdamConfig::new(),
        AdamConfig::new().with_beta_1(0.8).with_epsilon(1e-3).with_weight_decay(decay()),
        AdamConfig::new().with_amsgrad(true),
        AdamWConfig::new().with_weight_decay(0.3),
        RmsPropConfig::new(),
        RmsPropConfig::new().with_momentum(0.0).with_weight_decay(decay()),
        AdaGradConfig::new().with_lr_decay(0.1),
        SgdConfig::new(),
        SgdConfig::new().with_momentum(Some(MomentumConfig::new())).with_weight_decay(decay()),
        LionConfig::new().with_weight_decay(0.1),
        LambConfig::new().with_weight_decay(0.1),
        LambConfig::new().with_weight_decay(0.1).with_use_trust_ratio(false),
        AdamWConfig::new().with_weight_decay(0.3).with_cautious_weight_decay(true),
        AdanConfig::new(),
        AdanConfig::new().with_weight_decay(0.3),
        AdanConfig::new().with_weight_decay(0.3).with_no_prox(true),
    );
}

#[test]
fn clipping_by_tensor_agrees_with_burns() {
    for clipping in [GradientClippingConfig::Norm(0.5), GradientClippingConfig::Value(0.3)] {
        let config = SgdConfig::new().with_gradient_clipping(Some(clipping));
        agree("clipped", config.init_fused(), config.init());
    }
}

#[test]
fn training_agrees_with_burns() {
    let config = AdamConfig::new();
    let difference = both(&Net::new(&device()), Net::grads, config.init_fused(), config.init());
    // Both trajectories start from the same model, and rounding feeds back through its gradients.
    assert!(difference < 1e-4, "{difference}");
}
