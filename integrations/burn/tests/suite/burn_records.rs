//! Records of Burn's own optimizers, and of earlier versions of this crate.

use crate::common::{Bag, bits, changed, device, difference, values};
use crate::states::steps;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdamConfig, AdamWConfig, AdanConfig, LambConfig, LionConfig, ModuleOptimizer,
    OptimizerRecord, RmsPropConfig, SgdConfig,
};
use wgpu_optim_burn::{Fuse, FusedOptimizer};

/// As between steps of the two crates: see `matches_burn`.
const ROUNDING: f32 = 2e-6;

const LR: f64 = 0.01;

fn burns(mut model: Bag, optimizer: &mut ModuleOptimizer, range: std::ops::Range<usize>) -> Bag {
    for step in range {
        let grads = model.grads(step);
        model = optimizer.step(LR, model, grads);
    }
    model
}

fn taken_over(name: &str, mut burn: ModuleOptimizer, ours: FusedOptimizer) {
    let model = burns(Bag::new(&device()), &mut burn, 0..4);
    let mut ours = ours.try_load_record(burn.to_record()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let expected = burns(model.clone(), &mut burn, 4..8);
    let found = steps(model, &mut ours, 4..8);
    let difference = difference(&values(&found), &values(&expected));
    assert!(difference < ROUNDING, "{name}: {difference}");
}

#[test]
fn runs_of_burns_own_optimizers_go_on() {
    macro_rules! taken_over {
        ($($config:expr),+ $(,)?) => {
            $(taken_over(stringify!($config), $config.init(), $config.init_fused());)+
        };
    }
    let decay = || Some(WeightDecayConfig::new(0.1));
    taken_over!(
        AdamConfig::new(),
        AdamConfig::new().with_amsgrad(true).with_weight_decay(decay()),
        AdamWConfig::new().with_weight_decay(0.3),
        AdaGradConfig::new().with_lr_decay(0.1),
        RmsPropConfig::new(),
        RmsPropConfig::new().with_centered(true).with_momentum(0.5),
        SgdConfig::new(),
        SgdConfig::new().with_momentum(Some(MomentumConfig::new())),
        LionConfig::new(),
        LambConfig::new().with_weight_decay(0.1),
        LambConfig::new().with_use_trust_ratio(false),
        AdamWConfig::new().with_cautious_weight_decay(true),
        AdanConfig::new().with_weight_decay(0.1),
    );
}

#[test]
fn names_that_are_not_understood_are_listed() {
    let refused = |mut burn: ModuleOptimizer, ours: FusedOptimizer| {
        burns(Bag::new(&device()), &mut burn, 0..1);
        ours.try_load_record(burn.to_record()).expect_err("refused").to_string()
    };
    let adan = refused(AdanConfig::new().init(), AdamConfig::new().init_fused());
    for name in ["momentum.exp_avg_diff", "momentum.neg_pre_grad", "momentum.moment_1"] {
        assert!(adan.contains(name), "{adan}");
    }
    let lamb = refused(AdamConfig::new().init(), LambConfig::new().init_fused());
    assert!(lamb.contains("lamb") && lamb.contains("momentum.moment_1"), "{lamb}");
    // States that are missing are seen at once.
    let amsgrad = AdamConfig::new().with_amsgrad(true);
    let missing = refused(AdamConfig::new().init(), amsgrad.init_fused());
    assert!(
        missing.contains("max_exp_avg_sq") && missing.contains("the states that adam"),
        "{missing}"
    );
}

/// The record as this crate wrote it when it knew arrays, counts and paths only.
fn earlier(record: OptimizerRecord) -> OptimizerRecord {
    let is_known = |name: &str| name.ends_with(".steps") || name.ends_with(".__rank");
    changed(record, is_known, |_| true, |name| name != "wgpu_optim")
}

#[test]
fn records_of_earlier_versions_load() {
    for rule in crate::rules::every_rule() {
        let config = wgpu_optim_burn::FusedConfig::new(rule);
        let start = Bag::new(&device());
        let uninterrupted = steps(start.clone(), &mut config.init(), 0..6);
        let mut first = config.init();
        let model = steps(start, &mut first, 0..3);
        let mut second = config.init().try_load_record(earlier(first.to_record())).unwrap();
        assert_eq!(bits(&steps(model, &mut second, 3..6)), bits(&uninterrupted));
    }
}

#[test]
fn an_earlier_record_of_another_rule_is_refused_at_once() {
    let mut first = AdamConfig::new().init_fused();
    steps(Bag::new(&device()), &mut first, 0..1);
    let record = earlier(first.to_record());
    let refused = LionConfig::new().init_fused().try_load_record(record).expect_err("refused");
    let message = refused.to_string();
    assert!(message.contains("lion") && message.contains("exp_avg_sq"), "{message}");
}
