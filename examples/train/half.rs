//! Rounding to f16, whose narrow range is the reason for loss scaling.

/// The largest number of f16.
const MAX: f32 = 65_504.0;

/// The nearest f16; infinite beyond its range.
pub fn round_to_f16(x: f32) -> f32 {
    // f16 has 10 bits after the leading one, and none below 2⁻²⁴.
    let exponent = ((x.to_bits() >> 23) & 0xff) as i32 - 127;
    let unit = 2_f32.powi(exponent.max(-14) - 10);
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > MAX { f32::INFINITY.copysign(x) } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_numbers_are_unchanged() {
        for x in [0.0, 1.0, -1.5, 1.0 + 1.0 / 1024.0, MAX, 2_f32.powi(-24), f32::INFINITY] {
            assert_eq!(round_to_f16(x), x);
            assert_eq!(round_to_f16(-x), -x);
        }
        assert!(round_to_f16(f32::NAN).is_nan());
    }

    #[test]
    fn others_round_to_the_nearest_and_ties_to_even() {
        let ulp = 1.0 / 1024.0;
        assert_eq!(round_to_f16(1.0 + 0.5 * ulp), 1.0);
        assert_eq!(round_to_f16(1.0 + 0.51 * ulp), 1.0 + ulp);
        assert_eq!(round_to_f16(1.0 + 1.5 * ulp), 1.0 + 2.0 * ulp);
        assert_eq!(round_to_f16(65_519.0), MAX);
    }

    #[test]
    fn large_numbers_overflow_and_small_ones_underflow() {
        assert_eq!(round_to_f16(65_520.0), f32::INFINITY);
        assert_eq!(round_to_f16(-1e38), f32::NEG_INFINITY);
        assert_eq!(round_to_f16(2_f32.powi(-25)), 0.0);
        assert_eq!(round_to_f16(1.01 * 2_f32.powi(-25)), 2_f32.powi(-24));
        assert_eq!(round_to_f16(1e-44), 0.0);
    }
}
