// The only update: a thread's elements of a block are loaded, given to the rule, and stored.
//
// Linked before this: `block.wgsl`, the store functions, `coeffs_of`, `leave_grads`, SKIPS.

// A thread's elements before and after the step; 0 for those that are not the parameter's.
struct Updated {
    before: Real,
    after: Real,
}

fn step_thread(block: u32, thread: u32) -> Updated {
    let row = table[block];

    // The thread's elements, counted within the block. The first is the smallest; those past the
    // parameter's end repeat it when loading and are not stored.
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    if !live.x {
        return Updated();
    }
    let at = select(vec4<u32>(lanes.x), lanes, live);

    let group = group_of(row);
    let old = load_params(row.x + at);
    let loaded = load_grads(row.y + at);
    leave_grads(row.y + at, live);
    if SKIPS {
        if group.before.limit < 0.0 {
            let kept = select(Real(0.0), old, live);
            return Updated(kept, kept);
        }
    }
    let g = gradient(group.before, old, loaded);
    var state = load_state(row.z + at);
    let coeffs = coeffs_of(group.rule, block);
    let after = update(coeffs, group.before.shrink * old, g, &state);
    store_state(row.z + at, live, state);
    store_params(row.x + at, live, select(old, after, live));
    return Updated(select(Real(0.0), old, live), select(Real(0.0), after, live));
}

