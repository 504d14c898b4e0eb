// Sums of squares that neither overflow nor vanish: small, middling and large numbers are summed
// apart, the small and the large scaled by powers of two (Blue 1978). The fourth component is a
// plain sum's.

fn squares(x: Real) -> vec4<f32> {
    let is_small = abs(x) < Real(0x1p-40f);
    let is_large = abs(x) > Real(0x1p40f);
    let small = select(Real(0.0), x * 0x1p80f, is_small);
    let middling = select(x, Real(0.0), is_small | is_large);
    let large = select(Real(0.0), x * 0x1p-80f, is_large);
    return vec4<f32>(dot(small, small), dot(middling, middling), dot(large, large), 0.0);
}

fn total(x: Real) -> vec4<f32> {
    return vec4<f32>(0.0, 0.0, 0.0, (x.x + x.y) + (x.z + x.w));
}
