// The update: a thread's elements of a block are loaded, given to the rule, and stored.
// #import blocks
// #import around
// #import rule
// #import states
// #if modified
// #import modify
// #end
// #if keeps
// #import keep
// #end
// #if chance
// #import noise
// #end
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
    // #if keeps
    let old = exact_params(row, at);
    // #else
    let old = load_params(row.x + at);
    // #end
    // #if modified
    // #if clip_grad_tensor
    let loaded = grad_scale(slot.numbers, block) * load_grads(row.y + at);
    // #else
    let loaded = load_grads(row.y + at);
    // #end
    let g = gradient(slot.around, old, loaded);
    // #else
    let g = gradient(slot.around, old, load_grads(row.y + at));
    // #end
    var state = load_state(row.z + at);
    // #if sums
    let coeffs = tensor_coeffs(slot.rule, block);
    // #else
    let coeffs = slot.rule;
    // #end
    // #if modified
    let updated = update(coeffs, old, g, &state);
    let modified = modified(slot, old, loaded, updated, block, row.z + at);
    let after = modified.param;
    // #else
    let after = finished(slot.around, old, update(coeffs, old, g, &state));
    // #end
    // #if skip
    let skipped = verdict.skip != 0u;
    // #else
    const skipped = false;
    // #end
    let kept = select(old, after, live & vec4<bool>(!skipped));

    // #if block8
    // Every thread takes part, also one that stores nothing.
    let scales = scales_of(block % BLOCKS_PER_WORKGROUP, live, state);
    // #end
    // #if chance
    let origin = origins[min(block, arrayLength(&table) - 1u)];
    let random = noise(thread, origin.x, slot.around.step, origin.y);
    // #end

    // A thread's first element is the parameter's if any is.
    if live.x {
        // #if zero_grad
        store_grads(row.y + at, live, Real(0.0));
        // #end
        if !skipped {
            // #if block8
            store_state(row.z + at, live, state, scales);
            // #else
            store_state(row.z + at, live, state);
            // #end
            // #if average
            store_state_average(row.z + at, live, modified.average);
            // #end
            // #if lookahead
            store_state_slow(row.z + at, live, modified.slow);
            // #end
            // #if chance
            store_by_chance(row, at, live, kept, random);
            // #else
            // #if keeps
            store_exact(row, at, live, kept);
            // #else
            store_params(row.x + at, live, kept);
            // #end
            // #end
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
