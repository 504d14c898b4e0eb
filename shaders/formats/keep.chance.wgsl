// A bf16 parameter rounded up or down by chance.

fn exact_params(row: vec4<u32>, at: vec4<u32>) -> Real {
    return load_params(row.x + at);
}
// #if params_is_written
fn store_by_chance(
    row: vec4<u32>,
    at: vec4<u32>,
    live: vec4<bool>,
    value: Real,
    random: vec4<u32>,
) {
    let bits = bitcast<vec4<u32>>(value);
    let is_finite = (bits & vec4<u32>(0x7fffffffu)) < vec4<u32>(0x7f800000u);
    let rounded = ((bits + random) >> vec4<u32>(16u)) & vec4<u32>(0xffffu);
    put_params(row.x + at, live, select(encode_bf16(value), rounded, is_finite));
}
// #end
