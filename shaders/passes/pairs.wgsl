// Four words of 32 bits in two of 64.

fn unpacked(pairs: vec2<u64>) -> vec4<u32> {
    return vec4<u32>(u32(pairs.x), u32(pairs.x >> 32u), u32(pairs.y), u32(pairs.y >> 32u));
}

fn packed(words: vec4<u32>) -> vec2<u64> {
    return vec2<u64>(
        u64(words.x) | (u64(words.y) << 32u),
        u64(words.z) | (u64(words.w) << 32u),
    );
}
