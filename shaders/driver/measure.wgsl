// What a thread adds to its block's measure: the gradients alone, as they were loaded. A block has 16
// threads here, which take 16 elements each: fewer sums meet in workgroup memory.

fn sum_block(first: u32, member: u32) {
    sum_16(first, member);
}

fn thread_sum(block: u32, thread: u32) -> Measure {
    let row = table[block];
    let place = tensors[block].x;
    let low = plus(
        measure_of(row, place, lanes_of(thread)),
        measure_of(row, place, lanes_of(thread + THREADS_PER_BLOCK)),
    );
    let high = plus(
        measure_of(row, place, lanes_of(thread + 2u * THREADS_PER_BLOCK)),
        measure_of(row, place, lanes_of(thread + 3u * THREADS_PER_BLOCK)),
    );
    return plus(low, high);
}

// Of four elements.
fn measure_of(row: vec4<u32>, place: u32, lanes: vec4<u32>) -> Measure {
    let live = live_lanes(lanes, row);
    if !live.x {
        return Measure();
    }
    let loaded = load_grads(row.y + select(vec4<u32>(lanes.x), lanes, live));
    // By the bits: a compiler may take it that there are neither infinities nor NaN.
    let magnitude = bitcast<vec4<u32>>(loaded) & vec4<u32>(0x7fffffffu);
    let bad = live & (magnitude >= vec4<u32>(0x7f800000u));
    let nan = live & (magnitude > vec4<u32>(0x7f800000u));
    let g = select(Real(0.0), loaded, live & !bad);

    var sums = squares(g);
    sums.w = max(max(abs(g.x), abs(g.y)), max(abs(g.z), abs(g.w)));
    let first = min(
        min(select(NONE, lanes.x, bad.x), select(NONE, lanes.y, bad.y)),
        min(select(NONE, lanes.z, bad.z), select(NONE, lanes.w, bad.w)),
    );
    let one = vec4<u32>(1u);
    return Measure(
        sums,
        dot(one, vec4<u32>(bad)),
        dot(one, vec4<u32>(nan)),
        select(NONE, place, any(bad)),
        first,
    );
}

