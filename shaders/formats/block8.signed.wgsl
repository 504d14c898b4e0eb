
// 8 bits an element with signs: 127 is 0, codes above are positive, those below negative; there is
// no −1.

fn encode_signed(value: Real, scale: u32) -> vec4<u32> {
    let index = nearest_signed(to_unit(value, scale));
    let negative = 127u - min(index, vec4<u32>(127u));
    return select(127u + index, negative, value < Real(0.0));
}

fn decode_signed(codes: vec4<u32>) -> Real {
    let negative = codes < vec4<u32>(127u);
    let y = magnitude_signed(select(codes - 127u, 127u - codes, negative));
    return select(y, -y, negative);
}
