//! A group's scalars at any step count: the bits of stepping there, without the steps.

use std::time::{Duration, Instant};
use wgpu_optim::{
    ASGD, CpuOptimizer, DynRule, LaProp, NAdam, ScheduleFreeAdamW, ScheduleFreeRAdam,
    ScheduleFreeSGD,
};

/// Slow and fast schedules, and momenta up to the largest that is taken.
fn nadams() -> Vec<Box<dyn DynRule>> {
    let mut rules = Vec::new();
    for beta1 in [0.0, 0.3, 0.5, 0.9, 0.999, 0.9999, 0.999_999_94] {
        for momentum_decay in [0.0, 1e-9, 4e-3, 0.018, 0.05, 1.0, 1e6] {
            let rule = NAdam { betas: (beta1, 0.999), momentum_decay, ..Default::default() };
            rules.push(rule.into());
        }
    }
    rules
}

/// Rules whose sums of weights grow by terms of few digits and of many, and with ties between two
/// f64s.
fn averaging() -> Vec<Box<dyn DynRule>> {
    let mut rules: Vec<Box<dyn DynRule>> = Vec::new();
    let tie = 1.0 + 2f64.powi(-40);
    for lr in [0.0, 1e-3, 0.1, 0.75, 1.0, tie, 1.0 + 2f64.powi(-52), 1e19] {
        for warmup_steps in [0.0, 3.5, 1000.0] {
            let rule = ScheduleFreeSGD { lr, warmup_steps, ..Default::default() };
            rules.push(rule.into());
            rules.push(ScheduleFreeSGD { weight_lr_power: 1.0, ..rule }.into());
            rules.push(ScheduleFreeAdamW { lr, warmup_steps, ..Default::default() }.into());
        }
        for beta2 in [0.9, 0.999] {
            let betas = (0.9, beta2);
            rules.push(ScheduleFreeRAdam { lr, betas, ..Default::default() }.into());
        }
    }
    rules
}

fn rules() -> Vec<Box<dyn DynRule>> {
    let mut rules = nadams();
    rules.extend(averaging());
    for beta1 in [0.0, 0.5, 0.9, 0.9999] {
        rules.push(LaProp { betas: (beta1, 0.999), ..Default::default() }.into());
    }
    rules.push(ASGD { lr: 0.3, lambd: 0.1, alpha: 0.6, ..Default::default() }.into());
    rules
}

#[test]
fn scalars_after_any_count_are_those_of_stepping() {
    const COUNTS: [u64; 13] =
        [0, 1, 2, 3, 63, 500, 1_075, 3_000, 7_069, 7_070, 8_000, 25_000, 60_000];
    let mut rules = rules();
    rules.push(ScheduleFreeAdamW { r: 0.5, ..Default::default() }.into());
    for rule in rules {
        let mut scalars: Vec<_> = rule.scalars().iter().map(|scalar| scalar.value).collect();
        let mut stepped = vec![scalars.clone()];
        for step in 1..=COUNTS[COUNTS.len() - 1] {
            rule.advance(step, &mut scalars);
            stepped.push(scalars.clone());
        }
        for count in COUNTS {
            let bits = |scalars: &[f64]| scalars.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let (found, expected) = (rule.scalars_after(count), &stepped[count as usize]);
            assert_eq!(bits(&found), bits(expected), "{rule:?} {count}: {found:?} {expected:?}");
        }
    }
}

/// Sums that go through many binades, to counts beyond which no step can be taken one by one here.
#[test]
fn sums_of_weights_are_those_of_stepping_for_millions_of_steps() {
    const LAST: u64 = 3_000_000;
    for lr in [0.3, 0.75, 1.0 + 2f64.powi(-33), 1.0 + 2f64.powi(-35)] {
        let rule: &dyn DynRule =
            &ScheduleFreeSGD { lr, weight_lr_power: 1.0, ..Default::default() };
        let mut scalars = [0.0; 2];
        for step in 1..=LAST {
            rule.advance(step, &mut scalars);
            if step.is_power_of_two() || step == LAST {
                assert_eq!(rule.scalars_after(step), scalars, "{rule:?} {step}");
            }
        }
    }
}

#[test]
fn a_run_of_any_length_is_resumed_at_once() {
    for rule in rules() {
        let start = Instant::now();
        let mut optimizer =
            CpuOptimizer::<f64>::builder().group(rule.boxed(), [("w", 1)]).build().expect("built");
        optimizer.set_steps("w", 100_000_000).expect("set");
        assert!(start.elapsed() < Duration::from_millis(800), "{rule:?}: {:?}", start.elapsed());
    }
    let start = Instant::now();
    let params = (0..2000).map(|i| (i.to_string(), 1));
    let mut optimizer =
        CpuOptimizer::<f32>::builder().group(NAdam::default(), params).build().expect("built");
    for i in 0..2000 {
        optimizer.set_steps(i.to_string(), 99_000 + i).expect("set");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
