alias Word = vec2<u64>;

fn real(word: Word) -> Real {
    return bitcast<Real>(vec4<u32>(
        u32(word.x),
        u32(word.x >> 32u),
        u32(word.y),
        u32(word.y >> 32u),
    ));
}

fn word(real: Real) -> Word {
    let bits = bitcast<vec4<u32>>(real);
    return vec2<u64>(u64(bits.x) | (u64(bits.y) << 32u), u64(bits.z) | (u64(bits.w) << 32u));
}

