// The lower half of an f32 master beside its upper half, a bf16 parameter.

fn exact_params(row: vec4<u32>, at: vec4<u32>) -> Real {
    let low = halves_state_param_remainder(row.z + at);
    // The parameter is the nearest bf16: one more than the upper half if the lower is negative.
    let high = halves_params(row.x + at) - (low >> vec4<u32>(15u));
    return bitcast<Real>((high << vec4<u32>(16u)) | low);
}
// #if params_is_written
fn store_exact(row: vec4<u32>, at: vec4<u32>, live: vec4<bool>, value: Real) {
    let raw = bitcast<vec4<u32>>(value);
    let is_nan = (raw & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    // Of a NaN the upper half must stay one.
    let bits = select(raw, (raw & vec4<u32>(0xffff0000u)) | vec4<u32>(0x400000u), is_nan);
    let low = bits & vec4<u32>(0xffffu);
    let high = ((bits >> vec4<u32>(16u)) + (low >> vec4<u32>(15u))) & vec4<u32>(0xffffu);
    put_state_param_remainder(row.z + at, live, low);
    put_params(row.x + at, live, high);
}
// #end
