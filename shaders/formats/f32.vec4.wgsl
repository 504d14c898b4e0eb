// f32, four neighbouring elements a thread, one vec4 each way. Needs arrays that start at a multiple of
// 16 bytes and whose last vec4 belongs to them whole.
@group(0) @binding($BINDING) var<storage, $ACCESS> $ARRAY: array<vec4<f32>>;

fn load_$ARRAY(at: vec4<u32>) -> Real {
    return $ARRAY[at.x / 4u];
}
// --- store
fn store_$ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real) {
    $ARRAY[at.x / 4u] = value;
}
