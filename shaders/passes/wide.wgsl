// IEEE-754 double precision in u32 arithmetic: the same bits as the host's f64, for the few numbers
// of a step that f32 cannot hold. Floats take no part, since a GPU may flush, fuse or reorder them.
//
// All of f64 is here, subnormal numbers too, rounded to nearest and ties to even. The one liberty
// is that every NaN that comes out is WIDE_NAN, whatever came in.

// The bits of an f64, or another 64-bit integer: x is the low word, y the high one.
alias Wide = vec2<u32>;

const WIDE_SIGN = 0x80000000u;               // in the high word, as the next one
const WIDE_INFINITY = 0x7ff00000u;
const WIDE_NAN = Wide(0u, 0x7ff80000u);
const WIDE_ONE = Wide(0u, 0x3ff00000u);
const WIDE_BIAS = 1023;

// A finite number without its sign: significand / 2^63 · 2^(exponent - WIDE_BIAS). The
// significand's highest bit is set, also for a subnormal number; only 0 has none set. A number's
// lowest 11 are clear.
struct WideParts {
    exponent: i32,
    significand: Wide,
}

// ---- 64-bit integers. Shifts of a word by 32 and more are undefined on some GPUs, so none is
// made.

fn wide_bits_add(a: Wide, b: Wide) -> Wide {
    let low = a.x + b.x;
    return Wide(low, a.y + b.y + u32(low < a.x));
}

fn wide_bits_sub(a: Wide, b: Wide) -> Wide {
    return Wide(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn wide_bits_less(a: Wide, b: Wide) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// Leading zeros, and 63 for zero, so that it can be shifted by them.
fn wide_bits_leading(a: Wide) -> u32 {
    return select(countLeadingZeros(a.y), 32u + min(countLeadingZeros(a.x), 31u), a.y == 0u);
}

// Shifts by less than 64.
fn wide_bits_left(a: Wide, count: u32) -> Wide {
    if count >= 32u {
        return Wide(0u, a.x << (count - 32u));
    }
    return Wide(a.x << count, (a.y << count) | ((a.x >> 1u) >> (31u - count)));
}

// Shifts by any number. If bits get lost, the lowest one is set instead: it tells rounding that
// there is something below.
fn wide_bits_right(a: Wide, count: u32) -> Wide {
    if count >= 64u {
        return Wide(u32((a.x | a.y) != 0u), 0u);
    }
    let bits = count & 31u;
    let below = (1u << bits) - 1u;
    if count >= 32u {
        return Wide((a.y >> bits) | u32((a.x | (a.y & below)) != 0u), 0u);
    }
    let low = (a.x >> bits) | ((a.y << 1u) << (31u - bits));
    return Wide(low | u32((a.x & below) != 0u), a.y >> bits);
}

// All 64 bits of a product, by halves of 16 bits. No sum overflows: (2^16 - 1)^2 + 2·(2^16 - 1) <
// 2^32.
fn wide_bits_product(a: u32, b: u32) -> Wide {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 16u);
    let other = a0 * b1 + (middle & 0xffffu);
    return Wide((other << 16u) | (low & 0xffffu), a1 * b1 + (middle >> 16u) + (other >> 16u));
}

// The low 64 bits of a product.
fn wide_bits_scale(a: Wide, factor: u32) -> Wide {
    return wide_bits_add(wide_bits_product(a.x, factor), Wide(0u, a.y * factor));
}

// ---- What a number is.

fn wide_magnitude(a: Wide) -> Wide {
    return Wide(a.x, a.y & ~WIDE_SIGN);
}

fn wide_is_nan(a: Wide) -> bool {
    return wide_bits_less(Wide(0u, WIDE_INFINITY), wide_magnitude(a));
}

fn wide_is_finite(a: Wide) -> bool {
    return (a.y & WIDE_INFINITY) != WIDE_INFINITY;
}

fn wide_is_zero(a: Wide) -> bool {
    return (a.x | (a.y & ~WIDE_SIGN)) == 0u;
}

// ---- Apart and together.

fn wide_normalized(exponent: i32, significand: Wide) -> WideParts {
    let shift = wide_bits_leading(significand);
    return WideParts(exponent - i32(shift), wide_bits_left(significand, shift));
}

fn wide_parts(a: Wide) -> WideParts {
    let field = (a.y >> 20u) & 0x7ffu;
    // A normal number's leading bit is implied. A subnormal one has none, and the least exponent.
    let leading = select(0u, 1u << 20u, field != 0u);
    let significand = wide_bits_left(Wide(a.x, (a.y & 0xfffffu) | leading), 11u);
    return wide_normalized(i32(max(field, 1u)), significand);
}

// The nearest f64 to a number of this sign. Of what is below the significand's 64 bits it needs
// to know only whether there is something: then the lowest bit is set.
fn wide_rounded(sign: u32, parts: WideParts) -> Wide {
    if parts.exponent >= 0x7ff {
        return Wide(0u, sign | WIDE_INFINITY);
    }
    // Below the normal numbers the exponent stays and the significand shrinks.
    let exponent = max(parts.exponent, 1);
    let kept = wide_bits_right(parts.significand, u32(exponent - parts.exponent));
    // 53 bits stay; the other 11 are more than half of the last one, or half of an odd one.
    let rest = kept.x & 0x7ffu;
    let up = rest > 0x400u || (rest == 0x400u && (kept.x & 0x800u) != 0u);
    // The leading bit adds 1 to the exponent's field. So does a carry, up to the one that makes
    // infinity.
    let low = (kept.x >> 11u) | (kept.y << 21u);
    let high = (u32(exponent - 1) << 20u) + (kept.y >> 11u);
    return wide_bits_add(Wide(low, sign | high), Wide(u32(up), 0u));
}

// ---- Arithmetic.

fn wide_add(a: Wide, b: Wide) -> Wide {
    let swap = wide_bits_less(wide_magnitude(a), wide_magnitude(b));
    let large = select(a, b, swap);
    let small = select(b, a, swap);
    let opposite = ((a.y ^ b.y) & WIDE_SIGN) != 0u;
    if !wide_is_finite(large) {
        // A NaN's magnitude is above infinity's, so a NaN is the large one.
        let undefined = wide_is_nan(large) || (!wide_is_finite(small) && opposite);
        return select(large, WIDE_NAN, undefined);
    }
    let x = wide_parts(large);
    let y = wide_parts(small);
    // Halved, so that the sum has room. x keeps all its bits, and y if the exponents are near;
    // otherwise at most one leading bit cancels, and what y loses stays far below the last bit of
    // the result.
    let distance = u32(x.exponent - y.exponent);
    let left = wide_bits_right(x.significand, 1u);
    let right = wide_bits_right(y.significand, distance + 1u);
    let difference = wide_bits_sub(left, right);
    let sum = select(wide_bits_add(left, right), difference, opposite);
    if (sum.x | sum.y) == 0u {
        // x - x is 0, but -0 - 0 is -0.
        return Wide(0u, a.y & b.y & WIDE_SIGN);
    }
    return wide_rounded(large.y & WIDE_SIGN, wide_normalized(x.exponent + 1, sum));
}

fn wide_sub(a: Wide, b: Wide) -> Wide {
    return wide_add(a, Wide(b.x, b.y ^ WIDE_SIGN));
}

// A product to 63 bits at least; if there is more, the lowest is set.
fn wide_product(x: WideParts, y: WideParts) -> WideParts {
    // The upper 64 of the product's 128 bits, column by column; no sum overflows.
    let low = wide_bits_product(x.significand.x, y.significand.x);
    let cross = wide_bits_product(x.significand.y, y.significand.x);
    let middle = wide_bits_add(cross, Wide(low.y, 0u));
    let other_cross = wide_bits_product(x.significand.x, y.significand.y);
    let other = wide_bits_add(other_cross, Wide(middle.x, 0u));
    let high = wide_bits_product(x.significand.y, y.significand.y);
    let top = wide_bits_add(wide_bits_add(high, Wide(middle.y, 0u)), Wide(other.y, 0u));
    let below = u32((low.x | other.x) != 0u);
    // Significands are from 1 to 2 and the product from 1 to 4, hence the 1.
    let exponent = x.exponent + y.exponent - WIDE_BIAS + 1;
    return wide_normalized(exponent, Wide(top.x | below, top.y));
}

fn wide_mul(a: Wide, b: Wide) -> Wide {
    let sign = (a.y ^ b.y) & WIDE_SIGN;
    let zero = wide_is_zero(a) || wide_is_zero(b);
    if !wide_is_finite(a) || !wide_is_finite(b) {
        let undefined = wide_is_nan(a) || wide_is_nan(b) || zero;
        return select(Wide(0u, sign | WIDE_INFINITY), WIDE_NAN, undefined);
    }
    if zero {
        return Wide(0u, sign);
    }
    return wide_rounded(sign, wide_product(wide_parts(a), wide_parts(b)));
}

fn wide_div(a: Wide, b: Wide) -> Wide {
    let sign = (a.y ^ b.y) & WIDE_SIGN;
    if !wide_is_finite(a) || !wide_is_finite(b) || wide_is_zero(a) || wide_is_zero(b) {
        let infinite = !wide_is_finite(a) && !wide_is_finite(b);
        let zeros = wide_is_zero(a) && wide_is_zero(b);
        let large = !wide_is_finite(a) || wide_is_zero(b);
        let quotient = Wide(0u, sign | select(0u, WIDE_INFINITY, large));
        return select(quotient, WIDE_NAN, infinite || zeros || wide_is_nan(a) || wide_is_nan(b));
    }
    let x = wide_parts(a);
    let y = wide_parts(b);
    // Long division in digits of 11 bits, as many as 64 has more than the divisor's 53. Each time
    // rest < 2^11·divisor. The dividend, at first 63 bits, is less than twice as large as
    // 2^10·divisor.
    let divisor = wide_bits_right(y.significand, 11u);
    var rest = wide_bits_right(x.significand, 1u);
    var quotient = Wide();
    for (var digits = 0u; digits < 5u; digits++) {
        // From the high words alone, the digit or one more: the divisor's has 21 bits, so leaving
        // out its low word lets the estimate grow by less than 2^32 / 2^40.
        var digit = rest.y / divisor.y;
        var product = wide_bits_scale(divisor, digit);
        if wide_bits_less(rest, product) {
            digit -= 1u;
            product = wide_bits_sub(product, divisor);
        }
        rest = wide_bits_left(wide_bits_sub(rest, product), 11u);
        quotient = wide_bits_left(quotient, 11u);
        quotient.x |= digit;
    }
    // x / y · 2^54, where 2^63 stands for 1. It has 54 bits or more, so 53 and the one to round by.
    let parts = wide_normalized(x.exponent - y.exponent + WIDE_BIAS + 9, quotient);
    let below = u32((rest.x | rest.y) != 0u);
    let significand = Wide(parts.significand.x | below, parts.significand.y);
    return wide_rounded(sign, WideParts(parts.exponent, significand));
}

// The root's first 14 bits, of a number of 27 or 28.
fn wide_root_start(square: u32) -> u32 {
    var root = 0u;
    for (var bit = 1u << 13u; bit > 0u; bit >>= 1u) {
        let trial = root | bit;
        root = select(root, trial, trial * trial <= square);
    }
    return root;
}

// By how much a digit at this place lets the square grow, over that place.
fn wide_root_growth(twice: Wide, digit: u32, place: u32) -> Wide {
    return wide_bits_scale(wide_bits_add(twice, wide_bits_left(Wide(digit, 0u), place)), digit);
}

fn wide_sqrt(a: Wide) -> Wide {
    if wide_is_zero(a) {
        return a;
    }
    if (a.y & WIDE_SIGN) != 0u || !wide_is_finite(a) {
        return select(WIDE_NAN, a, all(a == Wide(0u, WIDE_INFINITY)));
    }
    let x = wide_parts(a);
    // a = s·4^half with s from 1 to 4; the root of s is found to 53 bits after the point.
    let half = (x.exponent - WIDE_BIAS) >> 1u;
    let odd = u32((x.exponent - WIDE_BIAS) & 1);
    // Long-hand: 14 bits, then five digits of 8. `rest` is s·2^106 - root^2, over the place of the
    // root's last digit, 2^40 at first; it is at most twice the root, 55 bits, so what overflows
    // here cancels.
    let start = wide_root_start(x.significand.y >> (5u - odd));
    var root = Wide(0u, start << 8u);
    var rest = wide_bits_sub(
        wide_bits_left(x.significand, 3u + odd),
        Wide(0u, (start * start) << 8u),
    );
    var place = 40u;
    while place > 0u {
        place -= 8u;
        rest = wide_bits_left(rest, 8u);
        // (root + digit)^2 - root^2 = digit·(2·root + digit). The estimate leaves out the last
        // term, which lets it grow by at most 2^-6, and low words, by 2^31 / 2^44: it is the digit
        // or one more.
        let twice = wide_bits_left(root, 1u);
        var digit = rest.y / twice.y;
        var growth = wide_root_growth(twice, digit, place);
        if wide_bits_less(rest, growth) {
            digit -= 1u;
            growth = wide_root_growth(twice, digit, place);
        }
        rest = wide_bits_sub(rest, growth);
        root = wide_bits_add(root, wide_bits_left(Wide(digit, 0u), place));
    }
    // The root's 54 bits, where 2^63 stands for 1: 53 and the one to round by.
    let parts = wide_normalized(half + WIDE_BIAS + 10, root);
    let below = u32((rest.x | rest.y) != 0u);
    return wide_rounded(0u, WideParts(parts.exponent, parts.significand | Wide(below, 0u)));
}

// a > b, hence false for a NaN, and for 0 and -0.
fn wide_greater(a: Wide, b: Wide) -> bool {
    if wide_is_nan(a) || wide_is_nan(b) || (wide_is_zero(a) && wide_is_zero(b)) {
        return false;
    }
    let a_negative = (a.y & WIDE_SIGN) != 0u;
    let b_negative = (b.y & WIDE_SIGN) != 0u;
    if a_negative != b_negative {
        return b_negative;
    }
    // Bits of one sign are in the order of the magnitudes.
    return select(wide_bits_less(b, a), wide_bits_less(a, b), a_negative);
}

// Far beyond an f64's exponents, and near enough that sums of two do not overflow.
const WIDE_FAR = 0x10000;

fn wide_square_step(x: WideParts, y: WideParts) -> WideParts {
    let product = wide_product(x, y);
    return WideParts(clamp(product.exponent, -WIDE_FAR, WIDE_FAR), product.significand);
}

// base^exponent for a finite base of at least 0, by squaring, from the exponent's lowest bit up.
// Rounded to an f64 only at the end: products of f64 would double their error with every squaring.
// The host's twin is `power` in src/rule/power.rs.
fn wide_power(base: Wide, exponent: u32) -> Wide {
    if wide_is_zero(base) {
        return select(Wide(), WIDE_ONE, exponent == 0u);
    }
    if (base.y & WIDE_SIGN) != 0u || !wide_is_finite(base) {
        return WIDE_NAN;
    }
    var result = wide_parts(WIDE_ONE);
    var square = wide_parts(base);
    var left = exponent;
    while left != 0u {
        if (left & 1u) != 0u {
            result = wide_square_step(result, square);
        }
        square = wide_square_step(square, square);
        left >>= 1u;
    }
    return wide_rounded(0u, result);
}

// ---- Conversions.

fn wide_from_u32(x: u32) -> Wide {
    if x == 0u {
        return Wide();
    }
    return wide_rounded(0u, wide_normalized(WIDE_BIAS + 63, Wide(x, 0u)));
}

// From an f32's bits.
fn wide_from_f32(bits: u32) -> Wide {
    let sign = bits & WIDE_SIGN;
    let field = (bits >> 23u) & 0xffu;
    let fraction = bits & 0x7fffffu;
    if field == 0xffu {
        return select(Wide(0u, sign | WIDE_INFINITY), WIDE_NAN, fraction != 0u);
    }
    if (field | fraction) == 0u {
        return Wide(0u, sign);
    }
    // As in `wide_parts`, with f32's bias of 127.
    let leading = select(0u, 1u << 23u, field != 0u);
    let exponent = i32(max(field, 1u)) + WIDE_BIAS - 127;
    return wide_rounded(sign, wide_normalized(exponent, Wide(0u, (fraction | leading) << 8u)));
}

// The nearest f32's bits, as `wide_rounded` finds an f64's.
fn wide_to_f32(a: Wide) -> u32 {
    let sign = a.y & WIDE_SIGN;
    if wide_is_nan(a) {
        return 0x7fc00000u;
    }
    let parts = wide_parts(a);
    let biased = parts.exponent - WIDE_BIAS + 127;
    if biased >= 0xff {
        return sign | 0x7f800000u;
    }
    let exponent = max(biased, 1);
    let kept = wide_bits_right(parts.significand, u32(exponent - biased));
    // 24 bits stay; 8 follow in this word, and one of them stands for the other word's.
    let word = kept.y | u32(kept.x != 0u);
    let rest = word & 0xffu;
    let up = rest > 0x80u || (rest == 0x80u && (word & 0x100u) != 0u);
    return sign | ((u32(exponent - 1) << 23u) + (word >> 8u) + u32(up));
}
