
// 8 bits an element, never negative.

// What is above 0 stays so: beside a first moment that is not 0, it divides.
fn encode_unsigned(value: Real, scale: u32) -> vec4<u32> {
    let y = to_unit(value, scale);
    let least = select(vec4<u32>(0u), vec4<u32>(1u), (value > Real(0.0)) & (y > Real(0.0)));
    return select(max(nearest_unsigned(y), least), vec4<u32>(0u), value < Real(0.0));
}

fn decode_unsigned(codes: vec4<u32>) -> Real {
    return magnitude_unsigned(codes);
}
