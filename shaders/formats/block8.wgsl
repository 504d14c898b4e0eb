// 8 bits an element, the KIND code: FIRST magnitudes in the lowest of seven decades, twice as many
// in each above, and 1. Codes are computed, not looked up. The twin is
// src/layout/formats/block8.rs.
// #import codes
// #import decades

// The index of the nearest magnitude, of numbers divided by the block's largest.
fn nearest_KIND(y: Real) -> vec4<u32> {
    var d = Decade(Real(1e-7), Real(FIRST.0), Real(FIRST.0 / 0.9 * 1e6));
    // From halfway between the last magnitude of a decade and the first of the next.
    d = raised(d, y, 1e-6 * (1.0 + 0.9 / FIRST.0), 1e-6, FIRST.0 * 2.0, FIRST.0 * 2.0 / 0.9 * 1e5);
    d = raised(d, y, 1e-5 * (1.0 + 0.45 / FIRST.0), 1e-5, FIRST.0 * 4.0, FIRST.0 * 4.0 / 0.9 * 1e4);
    d = raised(d, y, 1e-4 * (1.0 + 0.225 / FIRST.0), 1e-4, FIRST.0 * 8.0, FIRST.0 * 8.0 / 0.9 * 1e3);
    d = raised(d, y, 1e-3 * (1.0 + 0.1125 / FIRST.0), 1e-3, FIRST.0 * 16.0, FIRST.0 * 16.0 / 0.9 * 1e2);
    d = raised(d, y, 1e-2 * (1.0 + 0.05625 / FIRST.0), 1e-2, FIRST.0 * 32.0, FIRST.0 * 32.0 / 0.9 * 1e1);
    d = raised(d, y, 1e-1 * (1.0 + 0.028125 / FIRST.0), 1e-1, FIRST.0 * 64.0, FIRST.0 * 64.0 / 0.9);
    // The difference first: nothing that a compiler may fuse.
    let k = clamp(floor((y - d.start) * d.factor), Real(0.0), d.steps - 1.0);
    let index = vec4<u32>(d.steps + k) + 1u - FIRSTu;
    let some = select(index, vec4<u32>(0u), y <= Real(1e-6 * (0.05 + 0.225 / FIRST.0)));
    return select(some, vec4<u32>(LASTu), y > Real(1.0 - 0.225 / (64.0 * FIRST.0)));
}

// The magnitudes of these indices.
fn magnitude_KIND(index: vec4<u32>) -> Real {
    // FIRST·2ᵈ + k + ½: its exponent tells the decade, its significand the place therein.
    let bits = bitcast<vec4<u32>>(Real(index + (FIRSTu - 1u)) + 0.5);
    let decade = (bits >> vec4<u32>(23u)) - (126u + FIRSTu);
    let significand = bitcast<Real>((bits & vec4<u32>(0x7fffffu)) | vec4<u32>(0x3f800000u));
    let y = decade_end(decade) * (0.9 * (significand - 1.0) + 0.1);
    let some = select(y, Real(0.0), index == vec4<u32>(0u));
    return select(some, Real(1.0), index == vec4<u32>(LASTu));
}
