// What all 8-bit codes have in common.

// A thread's four codes in a word, and back.
fn packed_codes(codes: vec4<u32>) -> u32 {
    let shifted = codes << vec4<u32>(0u, 8u, 16u, 24u);
    return (shifted.x | shifted.y) | (shifted.z | shifted.w);
}

fn unpacked_codes(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
}

// The bits of the largest magnitude of four numbers that are finite and the parameter's.
fn largest_magnitude(value: Real, live: vec4<bool>) -> u32 {
    let bits = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu);
    let counts = live & (bits < vec4<u32>(0x7f800000u));
    let some = select(vec4<u32>(0u), bits, counts);
    return max(max(some.x, some.y), max(some.z, some.w));
}

// Magnitudes divided by a block's largest; 0 for what is not finite, and where the largest is too
// small to divide by.
fn to_unit(value: Real, scale: u32) -> Real {
    let bits = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu);
    let counts = (bits < vec4<u32>(0x7f800000u)) & vec4<bool>(scale >= 0x00800000u);
    return select(Real(0.0), abs(value) / bitcast<f32>(max(scale, 0x00800000u)), counts);
}
