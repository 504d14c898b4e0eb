// 16 bits, four neighbouring elements a thread, as two words. ARRAY: array<vec2<u32>>. Needs arrays
// that start at a multiple of 8 bytes and whose last four elements belong to them whole.
fn halves_ARRAY(at: vec4<u32>) -> vec4<u32> {
    let words = ARRAY[at.x / 4u];
    return vec4<u32>(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}
// #if ARRAY_is_written
fn put_ARRAY(at: vec4<u32>, live: vec4<bool>, halves: vec4<u32>) {
    ARRAY[at.x / 4u] = halves.xz | (halves.yw << vec2<u32>(16u));
}
// #end
