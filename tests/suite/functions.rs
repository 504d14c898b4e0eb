//! Exponentials and powers made of the operations that the GPU repeats, against the standard
//! library's. That the GPU's bits are the host's, `control.rs` shows for every rule.

use crate::common::random::Random;
use wgpu_optim::internals::{exp_m1, real_power};

/// The largest error, in parts of the exact value.
const MOST: f64 = 1e-14;

fn check(found: f64, exact: f64, what: impl std::fmt::Debug) {
    let off = (found - exact).abs() / exact.abs();
    assert!(off <= MOST, "{what:?}: {found:e} for {exact:e}, off by {off:e}");
}

#[test]
fn exponentials_are_right() {
    let mut random = Random::new(1);
    assert_eq!(exp_m1(0.0), 0.0);
    for _ in 0..100_000 {
        // From 1e-12, where e^x itself is no more than 1, to 20.
        let x = 20.0 * 10f64.powf(-13.0 * random.unit());
        check(exp_m1(x), x.exp_m1(), x);
    }
}

#[test]
fn powers_are_right() {
    let mut random = Random::new(2);
    for _ in 0..100_000 {
        let exponent = 3.0 * random.unit();
        let base = 10f64.powf(76.0 * random.unit() - 38.0);
        check(real_power(base, exponent), base.powf(exponent), (base, exponent));
        let base = 1.0 + random.unit() * 10f64.powf(-9.0 * random.unit());
        check(real_power(base, exponent), base.powf(exponent), (base, exponent));
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
