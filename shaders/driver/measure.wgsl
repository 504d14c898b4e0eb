// What a thread adds to its block's measure: the gradients alone, as they were loaded.

fn thread_sum(block: u32, thread: u32) -> Measure {
    let row = table[block];
    let lanes = lanes_of(thread);
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
        select(NONE, tensors[block].x, any(bad)),
        first,
    );
}

