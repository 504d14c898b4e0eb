//! Powers that the GPU repeats bit for bit, by `shaders/passes/wide.wgsl`.

/// base^exponent for a finite base of at least 0, by squaring, from the exponent's lowest bit up,
/// and rounded to an f64 only at the end: an error of about 2⁻⁶³ times the exponent, and half a
/// unit of the last place. `wide_power` in `shaders/passes/wide.wgsl` gives the same bits.
pub fn power(base: f64, exponent: u32) -> f64 {
    if base == 0.0 {
        return if exponent == 0 { 1.0 } else { 0.0 };
    }
    if !(base.is_finite() && base > 0.0) {
        return f64::NAN;
    }
    let mut result = Parts::new(1.0);
    let mut square = Parts::new(base);
    let mut left = exponent;
    while left != 0 {
        if left & 1 != 0 {
            result = result.times(square);
        }
        square = square.times(square);
        left >>= 1;
    }
    result.rounded()
}

/// What an f64's exponent is biased by.
const BIAS: i32 = 1023;

/// Far beyond an f64's exponents.
const FAR: i32 = 0x10000;

/// A positive number, significand / 2⁶³ · 2^(exponent − BIAS), with the significand's highest bit
/// set.
#[derive(Clone, Copy)]
struct Parts {
    exponent: i32,
    significand: u64,
}

impl Parts {
    fn new(x: f64) -> Self {
        let field = (x.to_bits() >> 52) as i32;
        let leading = u64::from(field != 0) << 52;
        let significand = (x.to_bits() & ((1 << 52) - 1) | leading) << 11;
        Self { exponent: field.max(1), significand }.normalized()
    }

    fn normalized(self) -> Self {
        let shift = self.significand.leading_zeros();
        Self { exponent: self.exponent - shift as i32, significand: self.significand << shift }
    }

    /// The product to 63 bits at least; if there is more, the lowest is set.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.significand) * u128::from(other.significand);
        let below = u64::from(product as u64 != 0);
        // Significands are from 1 to 2 and the product from 1 to 4, hence the 1.
        let exponent = self.exponent + other.exponent - BIAS + 1;
        let parts = Self { exponent, significand: (product >> 64) as u64 | below }.normalized();
        Self { exponent: parts.exponent.clamp(-FAR, FAR), ..parts }
    }

    /// The nearest f64, as `wide_rounded` finds it.
    fn rounded(self) -> f64 {
        if self.exponent >= 0x7ff {
            return f64::INFINITY;
        }
        let exponent = self.exponent.max(1);
        let shift = (exponent - self.exponent) as u32;
        let lost = self
            .significand
            .checked_shr(shift)
            .map_or(self.significand, |kept| self.significand - (kept << shift));
        let kept = self.significand.checked_shr(shift).unwrap_or(0) | u64::from(lost != 0);
        let rest = kept & 0x7ff;
        let up = rest > 0x400 || (rest == 0x400 && kept & 0x800 != 0);
        f64::from_bits(((exponent as u64 - 1) << 52) + (kept >> 11) + u64::from(up))
    }
}
