// 16 bits, four neighbouring elements a thread, from an even one on. ARRAY: array<u32>. Half of the
// last word may be another's, and stays as it is; no other thread of the dispatch writes it.
fn half_ARRAY(at: u32) -> u32 {
    return (ARRAY[at / 2u] >> (16u * (at % 2u))) & 0xffffu;
}

fn halves_ARRAY(at: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(half_ARRAY(at.x), half_ARRAY(at.y), half_ARRAY(at.z), half_ARRAY(at.w));
}
// #if ARRAY_is_written
fn put_pair_ARRAY(word: u32, both: bool, halves: vec2<u32>) {
    let upper = select(ARRAY[word] & 0xffff0000u, halves.y << 16u, both);
    ARRAY[word] = halves.x | upper;
}

fn put_ARRAY(at: vec4<u32>, live: vec4<bool>, halves: vec4<u32>) {
    put_pair_ARRAY(at.x / 2u, live.y, halves.xy);
    if live.z { put_pair_ARRAY(at.z / 2u, live.w, halves.zw); }
}
// #end
