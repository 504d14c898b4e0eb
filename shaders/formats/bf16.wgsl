// bf16, the upper half of an f32. Halves are the low 16 bits of words. The twin is
// src/layout/formats/half.rs.

fn decode_bf16(halves: vec4<u32>) -> Real {
    return bitcast<Real>(halves << vec4<u32>(16u));
}

// The nearest, ties to even.
fn encode_bf16(value: Real) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let upper = bits >> vec4<u32>(16u);
    let rounded = (bits + 0x7fffu + (upper & vec4<u32>(1u))) >> vec4<u32>(16u);
    // Rounded, a NaN could become an infinity or 0.
    let is_nan = (bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(rounded, upper | vec4<u32>(0x40u), is_nan);
}
