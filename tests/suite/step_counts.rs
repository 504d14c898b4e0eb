//! A group's scalars at any step count: the bits of stepping there, without the steps.

use std::time::{Duration, Instant};
use wgpu_optim::{CpuOptimizer, DynRule, NAdam};

/// Slow and fast schedules, and momenta up to the largest that is taken.
fn rules() -> Vec<NAdam> {
    let mut rules = Vec::new();
    for beta1 in [0.0, 0.3, 0.5, 0.9, 0.999, 0.9999, 0.999_999_94] {
        for momentum_decay in [0.0, 1e-9, 4e-3, 0.018, 0.05, 1.0, 1e6] {
            rules.push(NAdam { betas: (beta1, 0.999), momentum_decay, ..Default::default() });
        }
    }
    rules
}

#[test]
fn scalars_after_any_count_are_those_of_stepping() {
    const COUNTS: [u64; 13] =
        [0, 1, 2, 3, 63, 500, 1_075, 3_000, 7_069, 7_070, 8_000, 25_000, 60_000];
    for rule in rules() {
        let rule: &dyn DynRule = &rule;
        let mut scalars = vec![1.0];
        let mut stepped = vec![scalars[0]];
        for step in 1..=COUNTS[COUNTS.len() - 1] {
            rule.advance(step, &mut scalars);
            stepped.push(scalars[0]);
        }
        for count in COUNTS {
            let found = rule.scalars_after(count);
            let expected = stepped[count as usize];
            assert_eq!(found[0].to_bits(), expected.to_bits(), "{rule:?} {count}");
        }
    }
}

#[test]
fn a_run_of_any_length_is_resumed_at_once() {
    for rule in rules() {
        let start = Instant::now();
        let mut optimizer =
            CpuOptimizer::<f64>::builder().group(rule, [("w", 1)]).build().expect("built");
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
