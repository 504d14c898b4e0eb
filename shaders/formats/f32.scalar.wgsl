// f32, four elements a thread, each on its own: any offset, any length. ARRAY: array<f32>.
fn load_ARRAY(at: vec4<u32>) -> Real {
    return Real(ARRAY[at.x], ARRAY[at.y], ARRAY[at.z], ARRAY[at.w]);
}
// #if ARRAY_is_written
fn store_ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real) {
    ARRAY[at.x] = value.x;
    if live.y { ARRAY[at.y] = value.y; }
    if live.z { ARRAY[at.z] = value.z; }
    if live.w { ARRAY[at.w] = value.w; }
}
// #end
