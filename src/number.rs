//! Arithmetic that the GPU repeats bit for bit, in `shaders/driver/wide.wgsl`.

/// base^exponent by squaring, from the exponent's lowest bit up: the result takes in the squares whose bit
/// is set, the lowest first.
///
/// `f64::powi` and `f64::powf` may multiply in another order, which rounds to other bits.
#[allow(dead_code, reason = "for coefficients that the GPU computes")]
pub(crate) fn power(base: f64, exponent: u32) -> f64 {
    let mut result = 1.0;
    let mut square = base;
    let mut left = exponent;
    while left != 0 {
        if left & 1 != 0 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}
