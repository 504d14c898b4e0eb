// What the 8-bit codes have in common.

// Where the decade of each number starts, how many magnitudes it has, and how many to a unit.
struct Decade {
    start: Real,
    steps: Real,
    factor: Real,
}

// The decade, or this one for numbers above its bound.
fn raised(d: Decade, y: Real, bound: f32, start: f32, steps: f32, factor: f32) -> Decade {
    let above = y > Real(bound);
    return Decade(
        select(d.start, Real(start), above),
        select(d.steps, Real(steps), above),
        select(d.factor, Real(factor), above),
    );
}

fn decade_end(decade: vec4<u32>) -> Real {
    var end = select(Real(1e-6), Real(1e-5), decade > vec4<u32>(0u));
    end = select(end, Real(1e-4), decade > vec4<u32>(1u));
    end = select(end, Real(1e-3), decade > vec4<u32>(2u));
    end = select(end, Real(1e-2), decade > vec4<u32>(3u));
    end = select(end, Real(1e-1), decade > vec4<u32>(4u));
    return select(end, Real(1.0), decade > vec4<u32>(5u));
}

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
