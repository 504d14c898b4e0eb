// Blocks of a word for the scale, and then a word for each thread's four codes. ARRAY: array<u32>.
const ARRAY_WORDS = BLOCK / 4u + 1u;

fn load_ARRAY(at: vec4<u32>) -> Real {
    let block = ARRAY_WORDS * (at.x / BLOCK);
    let codes = unpacked_codes(ARRAY[block + 1u + at.x % BLOCK / 4u]);
    return decode_CODEC(codes) * bitcast<f32>(ARRAY[block]);
}
// #if ARRAY_is_written
// `scale` has the bits of the block's largest magnitude.
fn store_ARRAY(at: vec4<u32>, live: vec4<bool>, value: Real, scale: u32) {
    let block = ARRAY_WORDS * (at.x / BLOCK);
    if at.x % BLOCK == 0u {
        ARRAY[block] = select(scale, 0u, scale < 0x00800000u);
    }
    let codes = select(vec4<u32>(0u), encode_CODEC(value, scale), live);
    ARRAY[block + 1u + at.x % BLOCK / 4u] = packed_codes(codes);
}
// #end
