// The only update: a thread's elements of a block are loaded, given to the rule, and stored.
//
// Linked before this: `block.wgsl`, the store functions, `coeffs_of`, `leave_grads`, SKIPS.

// A thread's elements before and after the step; 0 for those that are not the parameter's.
struct Updated {
    before: Real,
    after: Real,
}

fn step_thread(block: u32, thread: u32) -> Updated {
    let row = row_of(block);
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    let at = loaded_lanes(lanes, row);

    let group = group_of(row);
    let old = load_params(row.x + at);
    let g = gradient(group.before, old, load_grads(row.y + at));
    var state = load_state(row.z + at);
    let coeffs = coeffs_of(group.rule, block);
    let after = update(coeffs, group.before.shrink * old, g, &state);
    let skipped = SKIPS && group.before.limit < 0.0;
    let kept = select(old, after, live & vec4<bool>(!skipped));

    // A thread's first element is the parameter's if any is.
    if live.x {
        leave_grads(row.y + at, live);
        if !skipped {
            store_state(row.z + at, live, state);
            store_params(row.x + at, live, kept);
        }
    }
    return Updated(select(Real(0.0), old, live), select(Real(0.0), kept, live));
}
