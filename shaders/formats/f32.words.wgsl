// f32 in a binding of words that holds 16-bit elements too, four elements a thread, each on its
// own. ARRAY: array<u32>.
fn load_ARRAY(at: vec4<u32>) -> Real {
    let words = vec4<u32>(ARRAY[at.x], ARRAY[at.y], ARRAY[at.z], ARRAY[at.w]);
    return bitcast<vec4<f32>>(words);
}
// #if ARRAY_is_written
fn store_ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real) {
    let words = bitcast<vec4<u32>>(value);
    ARRAY[at.x] = words.x;
    if live.y { ARRAY[at.y] = words.y; }
    if live.z { ARRAY[at.z] = words.z; }
    if live.w { ARRAY[at.w] = words.w; }
}
// #end
