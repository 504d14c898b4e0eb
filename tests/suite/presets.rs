//! Groups that are cut from shapes.

use wgpu_optim::{AdamW, CpuBuilder, CpuOptimizer, Decay, DecayKind, Lion, Modifiers, Rprop, SGD};

const PARAMS: [(&str, &[usize]); 4] =
    [("w", &[3, 4]), ("b", &[3]), ("kernel", &[2, 2, 3, 3]), ("scale", &[])];

fn builder() -> CpuBuilder<f64> {
    CpuOptimizer::<f64>::builder()
}

/// Of parameters that are all 1, without gradients, what is left after a step is 1 − decay.
fn after_a_step(builder: CpuBuilder<f64>) -> [f64; 4] {
    let mut optimizer = builder.build().expect("built");
    for (name, shape) in PARAMS {
        let ones = vec![1.0; shape.iter().product()];
        optimizer.set_param(name, &ones).expect("known");
    }
    optimizer.step().expect("stepped");
    PARAMS.map(|(name, _)| optimizer.param(name).expect("known")[0])
}

#[test]
fn matrices_decay_and_vectors_do_not() {
    let adamw = AdamW { lr: 0.1, weight_decay: 0.5, ..Default::default() };
    let lion = Lion { lr: 0.1, weight_decay: 0.5, ..Default::default() };
    let decay = Some(Decay::new(DecayKind::Fixed, 0.05));
    let modified = Modifiers { decay, ..Default::default() }.on(SGD::default());
    for rule in [adamw.into(), lion.into(), modified] {
        let found = after_a_step(builder().decay_matrices_only(rule, PARAMS));
        assert_eq!(found, [0.95, 1.0, 0.95, 1.0]);
    }
}

#[test]
fn both_groups_are_there() {
    let rule = AdamW { weight_decay: 0.5, ..Default::default() };
    let optimizer = builder().decay_matrices_only(rule, [("b", [3])]).build().expect("built");
    assert_eq!(optimizer.param_info("b").expect("known").group, 1);
    assert!(optimizer.rule(0).is_ok() && optimizer.rule(1).is_ok());
}

#[test]
fn a_rule_that_decays_nothing_is_refused() {
    let none = AdamW { weight_decay: 0.0, ..Default::default() };
    for (built, name) in [
        (builder().decay_matrices_only(none, PARAMS).build(), "adamw"),
        (builder().decay_matrices_only(Rprop::default(), PARAMS).build(), "rprop"),
    ] {
        let refused = built.expect_err("refused").to_string();
        assert!(refused.contains(name) && refused.contains("weight decay"), "{refused}");
    }
}
