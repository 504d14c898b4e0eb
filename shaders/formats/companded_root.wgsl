// 8 bits an element, never negative: equal steps of √y, where y is an element divided by its
// block's largest. The twin is src/layout/formats/companded8.rs.
// #import codes

// What is above 0 stays so: beside a first moment that is not 0, it divides.
fn encode_companded_root(value: Real, scale: u32) -> vec4<u32> {
    let y = to_unit(value, scale);
    let index = vec4<u32>(min(floor(sqrt(65025.0 * y) + 0.5), Real(255.0)));
    let least = select(vec4<u32>(0u), vec4<u32>(1u), y > Real(0.0));
    return select(max(index, least), vec4<u32>(0u), value < Real(0.0));
}

fn decode_companded_root(codes: vec4<u32>) -> Real {
    // The largest stays what it was, however a device divides.
    return select(Real(codes * codes) / 65025.0, Real(1.0), codes == vec4<u32>(255u));
}
