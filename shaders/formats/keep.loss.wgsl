// What rounding lost beside a 16-bit parameter (Kahan 1965).

fn exact_params(row: vec4<u32>, at: vec4<u32>) -> Real {
    return load_params(row.x + at) + load_state_kahan_comp(row.z + at);
}
// #if params_is_written
fn store_exact(row: vec4<u32>, at: vec4<u32>, live: vec4<bool>, value: Real) {
    let halves = encode_CODEC(value);
    let rounded = decode_CODEC(halves);
    let bits = bitcast<vec4<u32>>(rounded) & vec4<u32>(0x7fffffffu);
    // Beyond the format's largest nothing is left to keep.
    let lost = select(Real(0.0), value - rounded, bits < vec4<u32>(0x7f800000u));
    store_state_kahan_comp(row.z + at, live, lost);
    put_params(row.x + at, live, halves);
}
// #end
