// The same where words of 16-bit elements are two threads'. ARRAY: array<atomic<u32>>. A word of an
// f32 is one thread's alone.
fn load_ARRAY(at: vec4<u32>) -> Real {
    let words = vec4<u32>(
        atomicLoad(&ARRAY[at.x]),
        atomicLoad(&ARRAY[at.y]),
        atomicLoad(&ARRAY[at.z]),
        atomicLoad(&ARRAY[at.w]),
    );
    return bitcast<vec4<f32>>(words);
}
// #if ARRAY_is_written
fn store_ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real) {
    let words = bitcast<vec4<u32>>(value);
    atomicStore(&ARRAY[at.x], words.x);
    if live.y { atomicStore(&ARRAY[at.y], words.y); }
    if live.z { atomicStore(&ARRAY[at.z], words.z); }
    if live.w { atomicStore(&ARRAY[at.w], words.w); }
}
// #end
