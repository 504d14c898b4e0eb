//! The few curves that schedules are made of. None makes a NaN of numbers that are none.

use std::f64::consts::FRAC_PI_2;

/// a·b, where 0·∞ is 0: a rate of 0 stays 0 under a factor that has grown beyond all bounds.
pub(super) fn times(a: f64, b: f64) -> f64 {
    if (a == 0.0 && b.is_infinite()) || (b == 0.0 && a.is_infinite()) { 0.0 } else { a * b }
}

/// lr·γⁿ. Beyond 2⁵³ n is rounded, where the power is long 0, 1 or ∞ to f64.
pub(super) fn decayed(lr: f64, gamma: f64, n: u64) -> f64 {
    times(lr, gamma.powf(n as f64))
}

/// How much of `whole` is `part`; all of it, if it is nothing.
pub(super) fn fraction(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 1.0 } else { part / whole }
}

/// The straight line from a (x = 0) to b (x = 1), which rounding does not take beyond b.
pub(super) fn line(a: f64, b: f64, x: f64) -> f64 {
    let y = a + (b - a) * x;
    let beyond = if a <= b { y > b } else { y < b };
    if beyond || x == 1.0 { b } else { y }
}

/// Half a cosine by what is left of it: (1 + cos π(1 − left))/2, from 1 down to 0, both exactly. As
/// a square it has no cancellation near 0 and is never below it.
pub(super) fn half_cosine(left: f64) -> f64 {
    (FRAC_PI_2 * left).sin().powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_times_everything_is_nothing_but_nan_stays() {
        assert_eq!(times(0.0, f64::INFINITY), 0.0);
        assert_eq!(times(f64::INFINITY, 0.0), 0.0);
        assert!(times(0.0, f64::NAN).is_nan() && times(f64::NAN, 2.0).is_nan());
        assert_eq!(decayed(0.0, 2.0, u64::MAX), 0.0);
    }

    #[test]
    fn curves_begin_and_end_exactly() {
        for (a, b) in [(0.1, 0.3), (0.3, 0.1), (1.0 / 3.0, 1.0), (0.7, 0.7), (0.0, 1e300)] {
            assert_eq!(line(a, b, 0.0), a);
            assert_eq!(line(a, b, 1.0), b);
        }
        assert_eq!([half_cosine(1.0), half_cosine(0.0)], [1.0, 0.0]);
        assert!((half_cosine(0.5) - 0.5).abs() < 1e-15);
        assert!(line(f64::NAN, 1.0, 0.5).is_nan() && line(1.0, f64::NAN, 0.5).is_nan());
    }
}
