// f32, four neighbouring elements a thread, one vec4 each way. ARRAY: array<vec4<f32>>. Needs
// arrays that start at a multiple of 16 bytes and whose last vec4 belongs to them whole.
fn load_ARRAY(at: vec4<u32>) -> Real {
    return ARRAY[at.x / 4u];
}
// #if ARRAY_is_written
fn store_ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real) {
    ARRAY[at.x / 4u] = value;
}
// #end
