//! Burn's `Learner` holds an optimizer of Burn's own type, but asks the model to take the step.
//! `TrainStep` is from burn-train, which these tests do without, since it would take long to build;
//! this is its method, word for word.

use crate::common::{Bag, bits, device};
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use std::sync::{Arc, Mutex};
use wgpu_optim_burn::{Fuse, FusedOptimizer};

trait TrainStep {
    fn optimize(
        self,
        optim: &mut ModuleOptimizer,
        lr_module: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self
    where
        Self: Module + Sized;
}

#[derive(Module, Debug)]
struct Model {
    bag: Bag,
    #[module(skip)]
    optimizer: Arc<Mutex<FusedOptimizer>>,
}

impl TrainStep for Model {
    fn optimize(
        self,
        _: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let optimizer = self.optimizer.clone();
        let mut optimizer = optimizer.lock().unwrap();
        optimizer.step(lr, self, grads)
    }
}

/// `Learner::optimizer_step`, which steps a clone of its model.
fn learner_step(model: &mut Model, burn: &mut ModuleOptimizer, grads: GradientsParams) {
    *model = model.clone().optimize(burn, 0.01.into(), grads);
}

#[test]
fn a_learner_steps_by_the_models_own_optimizer() {
    let bag = Bag::new(&device());
    let mut alone = (bag.clone(), AdamConfig::new().init_fused());
    let optimizer = Arc::new(Mutex::new(AdamConfig::new().init_fused()));
    let (mut model, mut burn) = (Model { bag, optimizer }, AdamConfig::new().init());
    for step in 0..4 {
        let grads = alone.0.grads(step);
        alone.0 = alone.1.step(0.01, alone.0, grads);
        let grads = model.bag.grads(step);
        learner_step(&mut model, &mut burn, grads);
    }
    assert_eq!(bits(&model), bits(&alone.0));
    assert!(burn.to_record().is_empty(), "Burn's optimizer did nothing");
}
