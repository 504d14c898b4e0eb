// f32, four neighbouring elements a thread, moved as two words of 64 bits. ARRAY: array<vec2<u64>>.
fn load_ARRAY(at: vec4<u32>) -> Real {
    return bitcast<vec4<f32>>(unpacked(ARRAY[at.x / 4u]));
}
// #if ARRAY_is_written
fn store_ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real) {
    ARRAY[at.x / 4u] = packed(bitcast<vec4<u32>>(value));
}
// #end
