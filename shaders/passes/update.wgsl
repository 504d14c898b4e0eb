// The update: a thread's elements of a block are loaded, given to the rule, and stored.
// #import blocks
// #import around
// #import rule
// #import states
// #if sums
// #import tensor_coeffs
// #end
// #if statistics
// #import squares
// #import parts
// #end

// A thread's elements before and after the step; 0 for those that are not the parameter's.
struct Updated {
    before: Real,
    after: Real,
}

fn update_thread(block: u32, thread: u32) -> Updated {
    let row = row_of(block);
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    let at = loaded_lanes(lanes, row);

    let slot = slot_of(row);
    let old = load_params(row.x + at);
    let g = gradient(slot.around, old, load_grads(row.y + at));
    var state = load_state(row.z + at);
    // #if sums
    let coeffs = tensor_coeffs(slot.rule, block);
    // #else
    let coeffs = slot.rule;
    // #end
    let after = finished(slot.around, old, update(coeffs, old, g, &state));
    // #if skip
    let skipped = verdict.skip != 0u;
    // #else
    const skipped = false;
    // #end
    let kept = select(old, after, live & vec4<bool>(!skipped));

    // A thread's first element is the parameter's if any is.
    if live.x {
        // #if zero_grad
        store_grads(row.y + at, live, Real(0.0));
        // #end
        if !skipped {
            store_state(row.z + at, live, state);
            store_params(row.x + at, live, kept);
        }
    }
    return Updated(select(Real(0.0), old, live), select(Real(0.0), kept, live));
}

// #if statistics
// The squares of the parameters and of what the step changed them by.
fn part_sum(block: u32, thread: u32) -> Summand {
    let updated = update_thread(block, thread);
    return Summand(squares(updated.after), squares(updated.after - updated.before));
}
// #else
@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let block = block_of(workgroup, grid, invocation);
    _ = update_thread(block, invocation % THREADS_PER_BLOCK);
}
// #end
