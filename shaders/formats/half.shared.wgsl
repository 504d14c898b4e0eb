// 16 bits, at any even byte: threads share words with their neighbours. ARRAY: array<atomic<u32>>
// if it is written, or array<u32>.
fn word_ARRAY(word: u32) -> u32 {
    // #if ARRAY_is_written
    return atomicLoad(&ARRAY[word]);
    // #else
    return ARRAY[word];
    // #end
}

fn half_ARRAY(at: u32) -> u32 {
    return (word_ARRAY(at / 2u) >> (16u * (at % 2u))) & 0xffffu;
}

fn halves_ARRAY(at: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(half_ARRAY(at.x), half_ARRAY(at.y), half_ARRAY(at.z), half_ARRAY(at.w));
}
// #if ARRAY_is_written
// Only an element's owner changes its half of a word, so that the bits in which it changes are
// known whatever the other half's owner does meanwhile.
fn put_half_ARRAY(at: u32, half: u32) {
    atomicXor(&ARRAY[at / 2u], (half_ARRAY(at) ^ half) << (16u * (at % 2u)));
}

fn put_ARRAY(at: vec4<u32>, live: vec4<bool>, halves: vec4<u32>) {
    put_half_ARRAY(at.x, halves.x);
    if live.y { put_half_ARRAY(at.y, halves.y); }
    if live.z { put_half_ARRAY(at.z, halves.z); }
    if live.w { put_half_ARRAY(at.w, halves.w); }
}
// #end
