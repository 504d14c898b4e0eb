//! Exponentials and powers with real exponents, which the GPU repeats bit for bit, since they are
//! made of the operations that it repeats. Which ones these are depends on constants alone.

use crate::rule::number::Number;

/// How often [`exp_m1`] halves its argument, and then squares.
const HALVINGS: u32 = 10;

/// eˣ − 1 for x from 0 to 20, to 1e-14 of itself up to 5, and beyond to 2e-15·x.
pub fn exp_m1<N: Number>(x: N) -> N {
    let number = N::from;
    // e^2h − 1 = 2·tanh h/(1 − tanh h), and a continued fraction of tanh, which below 0.01 is right
    // to 3e-16.
    let half = x * number(0.5f64.powi(HALVINGS as i32 + 1));
    let square = half * half;
    let tanh = half / (number(1.0) + square / (number(3.0) + square / number(5.0)));
    let mut excess = (tanh + tanh) / (number(1.0) - tanh);
    for _ in 0..HALVINGS {
        // (1 + excess)² − 1, which does not round the 1 into a small excess.
        excess = excess * (number(2.0) + excess);
    }
    excess
}

/// How many binary digits of an exponent's fraction [`real_power`] takes one by one.
const ROOTS: u32 = 16;

/// The largest exponent of [`real_power`].
pub const MAX_EXPONENT: f64 = 16.0;

/// base^exponent, to a few parts in 10¹⁵, for a positive base within f32's range and an exponent
/// from 0 to `MAX_EXPONENT`. A base of 0 gives 0, as a power should, if the exponent is 2⁻¹⁶ or
/// more.
pub fn real_power<N: Number>(base: N, exponent: f64) -> N {
    let whole = exponent.floor();
    let scaled = (exponent - whole) * 2f64.powi(ROOTS as i32);
    let (digits, rest) = (scaled.floor(), scaled - scaled.floor());
    let of_whole = product_of_squares(base, whole as u32);
    let (product, root) = product_of_roots(of_whole, base, digits as u32, rest > 0.0);
    let near_1 = (rest > 0.0).then(|| power_near_1(root, rest));
    times(product, near_1).unwrap_or_else(|| N::from(1.0))
}

/// The product of what there is: a factor of 1 would be recorded too.
fn times<N: Number>(a: Option<N>, b: Option<N>) -> Option<N> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a * b),
        (a, b) => a.or(b),
    }
}

/// base^exponent, if that is not 0: the product of the squares whose digits are set.
fn product_of_squares<N: Number>(base: N, exponent: u32) -> Option<N> {
    let (mut product, mut square, mut left) = (None, base, exponent);
    while left != 0 {
        product = times(product, (left & 1 != 0).then_some(square));
        left >>= 1;
        if left != 0 {
            square = square * square;
        }
    }
    product
}

/// The product times base^(digits/2^ROOTS), root by root; and the last root, of all of them if they
/// are needed.
fn product_of_roots<N: Number>(
    product: Option<N>,
    base: N,
    digits: u32,
    all: bool,
) -> (Option<N>, N) {
    let (mut product, mut root) = (product, base);
    let count = if all { ROOTS } else { ROOTS - digits.trailing_zeros().min(ROOTS) };
    for digit in (ROOTS - count..ROOTS).rev() {
        root = root.sqrt();
        product = times(product, (digits >> digit & 1 != 0).then_some(root));
    }
    (product, root)
}

/// base^exponent for an exponent from 0 to 1 and a base next to 1, as f32s are after [`ROOTS`]
/// roots: within 1.4e-3 of it. With z = (base − 1)/(base + 1) it is ((1 + z)/(1 − z))^exponent,
/// here by its continued fraction, right to 1e-16.
fn power_near_1<N: Number>(base: N, exponent: f64) -> N {
    let one = N::from(1.0);
    let z = (base - one) / (base + one);
    let part = N::from(exponent) * z;
    let curvature = N::from((exponent * exponent - 1.0) / 3.0) * (z * z);
    one + (part + part) / (one - part + curvature)
}
