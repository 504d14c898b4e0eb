// 8 bits an element with signs, in two's complement: equal steps of 2y/(1 + y), where y is a
// magnitude divided by the block's largest. The twin is src/layout/formats/companded8.rs.
// #import codes

fn encode_companded(value: Real, scale: u32) -> vec4<u32> {
    let y = to_unit(value, scale);
    // A product that is divided, not added to: nothing that a compiler may fuse.
    let index = vec4<i32>(min(floor(254.0 * y / (1.0 + y) + 0.5), Real(127.0)));
    return bitcast<vec4<u32>>(select(index, -index, value < Real(0.0))) & vec4<u32>(0xffu);
}

fn decode_companded(codes: vec4<u32>) -> Real {
    let negative = codes > vec4<u32>(127u);
    let index = Real(select(codes, 256u - codes, negative));
    // The largest stays what it was, however a device divides.
    let y = select(index / (254.0 - index), Real(1.0), index >= Real(127.0));
    return select(y, -y, negative);
}
