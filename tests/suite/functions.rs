//! Exponentials and powers made of the operations that the GPU repeats, against the standard
//! library's. That the GPU's bits are the host's, `control.rs` shows for every rule.

use crate::common::random::Random;
use wgpu_optim::internals::{Program, exp_m1, real_power};
use wgpu_optim::{ASGD, AdEMAMix, DynRule, ScheduleFreeAdamW, ScheduleFreeRAdam, ScheduleFreeSGD};

/// The largest error, in parts of the exact value.
const MOST: f64 = 1e-14;

fn check(found: f64, exact: f64, most: f64, what: impl std::fmt::Debug) {
    let off = (found - exact).abs() / exact.abs();
    assert!(off <= most, "{what:?}: {found:e} for {exact:e}, off by {off:e}");
}

#[test]
fn exponentials_are_right() {
    let mut random = Random::new(1);
    assert_eq!(exp_m1(0.0), 0.0);
    for _ in 0..100_000 {
        // From where eˣ itself is no more than 1 to 20: as x grows, its own last digit comes to
        // stand for as many more of eˣ.
        let x = 20.0 * 10f64.powf(-13.0 * random.unit());
        check(exp_m1(x), x.exp_m1(), MOST * f64::max(x / 5.0, 1.0), x);
    }
}

#[test]
fn powers_are_right() {
    let mut random = Random::new(2);
    for _ in 0..100_000 {
        let exponent = 3.0 * random.unit();
        let base = 10f64.powf(76.0 * random.unit() - 38.0);
        check(real_power(base, exponent), base.powf(exponent), MOST, (base, exponent));
        let base = 1.0 + random.unit() * 10f64.powf(-9.0 * random.unit());
        check(real_power(base, exponent), base.powf(exponent), MOST, (base, exponent));
    }
}

/// Exponents of few digits take a few roots and products, exact to the last digits.
#[test]
fn simple_powers_are_exact() {
    for base in [0.3, 1.0, 2.5, 1e9] {
        let roots = [base, f64::sqrt(base), f64::sqrt(base).sqrt()];
        assert_eq!(real_power(base, 0.0), 1.0);
        assert_eq!(real_power(base, 1.0), base);
        assert_eq!(real_power(base, 2.0), base * base);
        assert_eq!(real_power(base, 0.5), roots[1]);
        assert_eq!(real_power(base, 0.75), roots[1] * roots[2]);
        assert_eq!(real_power(base, 1.25), base * roots[2]);
    }
    assert_eq!(
        [0.0, 0.3, 1.0, 2.5].map(|exponent| real_power(0.0, exponent)),
        [1.0, 0.0, 0.0, 0.0]
    );
    assert_eq!(real_power(3.0, 16.0), 3f64.powi(16));
}

/// Whatever the exponents, a step that may be skipped can be recorded.
#[test]
fn the_longest_programs_fit() {
    // All digits are set, and something is left.
    let (r, weight_lr_power) = (15.999999, 15.99999);
    let rules: [Box<dyn DynRule>; 5] = [
        ASGD { alpha: r, ..Default::default() }.into(),
        AdEMAMix { beta3_warmup: 7.0, alpha_warmup: 5.0, ..Default::default() }.into(),
        ScheduleFreeSGD { r, weight_lr_power, warmup_steps: 7.0, ..Default::default() }.into(),
        ScheduleFreeAdamW { r, weight_lr_power, warmup_steps: 7.0, ..Default::default() }.into(),
        ScheduleFreeRAdam { r, weight_lr_power, ..Default::default() }.into(),
    ];
    for rule in rules {
        rule.validate().expect("in range");
        let mut program = Program::default();
        rule.record(&mut program).expect("short enough");
    }
}
