
fn load_ARRAY(at: vec4<u32>) -> Real {
    return decode_CODEC(halves_ARRAY(at));
}
// #if ARRAY_is_written
fn store_ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real) {
    put_ARRAY(at, live, encode_CODEC(value));
}
// #end
