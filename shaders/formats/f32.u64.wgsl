// f32, four neighbouring elements a thread, as `f32.vec4.wgsl`, moved as two words of 64 bits.
@group(0) @binding($BINDING) var<storage, $ACCESS> $ARRAY: array<vec2<u64>>;

fn load_$ARRAY(at: vec4<u32>) -> Real {
    return bitcast<vec4<f32>>(unpacked($ARRAY[at.x / 4u]));
}
// --- store
fn store_$ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real) {
    $ARRAY[at.x / 4u] = packed(bitcast<vec4<u32>>(value));
}
