// f16, by integers: no feature is needed, and every device gives the same bits. Halves are the low
// 16 bits of words. The twin is src/layout/formats/half.rs.

fn decode_f16(halves: vec4<u32>) -> Real {
    let m = halves & vec4<u32>(0x7fffu);
    let is_finite = m < vec4<u32>(0x7c00u);
    let normal = (m << vec4<u32>(13u))
        + select(vec4<u32>(0x70000000u), vec4<u32>(0x38000000u), is_finite);
    // Of normal numbers, so that no device flushes it.
    let subnormal = bitcast<vec4<u32>>(Real(m) * 0x1p-24f);
    let magnitude = select(normal, subnormal, m < vec4<u32>(0x400u));
    return bitcast<Real>(magnitude | ((halves & vec4<u32>(0x8000u)) << vec4<u32>(16u)));
}

// The nearest, ties to even.
fn encode_f16(value: Real) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(value);
    let a = bits & vec4<u32>(0x7fffffffu);
    let tie = (a >> vec4<u32>(13u)) & vec4<u32>(1u);
    let normal = (a - 0x38000000u + 0xfffu + tie) >> vec4<u32>(13u);
    // In units of 2⁻²⁴.
    let shift = 126u - clamp(a >> vec4<u32>(23u), vec4<u32>(101u), vec4<u32>(125u));
    let k = (a & vec4<u32>(0x7fffffu)) | vec4<u32>(0x800000u);
    let half = vec4<u32>(1u) << (shift - 1u);
    let subnormal = (k + half - 1u + ((k >> shift) & vec4<u32>(1u))) >> shift;
    var halves = select(subnormal, normal, a >= vec4<u32>(0x38800000u));
    halves = select(halves, vec4<u32>(0x7c00u), a >= vec4<u32>(0x477ff000u)); // 65520
    halves = select(halves, vec4<u32>(0x7e00u), a > vec4<u32>(0x7f800000u));
    return halves | ((bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u));
}
