//! 16-bit codecs, by integers, so that every device gives the same bits. The twins are
//! `shaders/formats/f16.wgsl` and `bf16.wgsl`.

/// The bits of an f32 whose larger magnitudes are NaN.
const INFINITY: u32 = 0x7f80_0000;

const MAGNITUDE: u32 = 0x7fff_ffff;

/// The nearest bf16, ties to even.
pub fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // Rounded, a NaN could become an infinity or 0.
    (if bits & MAGNITUDE > INFINITY { bits >> 16 | 0x40 } else { rounded }) as u16
}

/// bf16 to f32, exactly.
pub fn from_bf16(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

/// One of the two bf16 beside `x`: the one away from zero with a chance of as much as `x` is beyond
/// the other, for 16 random bits.
pub fn to_bf16_by_chance(x: f32, random: u32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(random & 0xffff) >> 16;
    (if bits & MAGNITUDE >= INFINITY { u32::from(to_bf16(x)) } else { rounded }) as u16
}

/// The nearest f16, ties to even.
pub fn to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let (sign, a) = (bits >> 16 & 0x8000, bits & MAGNITUDE);
    let half = if a > INFINITY {
        0x7e00
    } else if a >= 0x477f_f000 {
        0x7c00 // 65520 and beyond
    } else if a >= 0x3880_0000 {
        (a - 0x3800_0000 + 0xfff + (a >> 13 & 1)) >> 13
    } else {
        // Subnormal: in units of 2⁻²⁴.
        let shift = 126 - (a >> 23).clamp(101, 125);
        let k = a & 0x007f_ffff | 0x0080_0000;
        (k + (1 << (shift - 1)) - 1 + (k >> shift & 1)) >> shift
    };
    (half | sign) as u16
}

/// f16 to f32, exactly.
pub fn from_f16(half: u16) -> f32 {
    let m = u32::from(half) & 0x7fff;
    let magnitude = if m >= 0x7c00 {
        (m << 13) + 0x7000_0000
    } else if m >= 0x400 {
        (m << 13) + 0x3800_0000
    } else {
        (m as f32 * f32::from_bits(0x3380_0000)).to_bits() // m·2⁻²⁴
    };
    f32::from_bits(magnitude | (u32::from(half) & 0x8000) << 16)
}

/// An f32 as the nearest bf16, ties away from zero, and what its bits are beyond that.
pub fn split(x: f32) -> (u16, i16) {
    let mut bits = x.to_bits();
    if bits & MAGNITUDE > INFINITY {
        // Of a NaN the upper half must stay one.
        bits = bits & 0xffff_0000 | 0x0040_0000;
    }
    let low = bits as u16 as i16;
    (((bits >> 16) + u32::from(low < 0)) as u16, low)
}

/// The f32 that was split.
pub fn join(high: u16, low: i16) -> f32 {
    let high = u32::from(high).wrapping_sub(u32::from(low < 0)) & 0xffff;
    f32::from_bits(high << 16 | u32::from(low as u16))
}
