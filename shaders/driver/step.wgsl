// The only update entry point: finds the block's elements, loads, calls the rule, stores.

@compute @workgroup_size(WORKGROUP_SIZE)
fn step(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let block = block_of(workgroup, grid, invocation);
    if block >= arrayLength(&table) {
        return;
    }
    let row = table[block];

    // The thread's elements, counted within the block. The first is the smallest; those past the
    // parameter's end repeat it when loading and are not stored.
    let lanes = lanes_of(invocation % THREADS_PER_BLOCK);
    let live = live_lanes(lanes, row);
    if !live.x {
        return;
    }
    let at = select(vec4<u32>(lanes.x), lanes, live);

    let group = group_of(row);
    let old = load_params(row.x + at);
    let g = gradient(group.before, old, load_grads(row.y + at));
    var state = load_state(row.z + at);
    let coeffs = coeffs_of(group.rule, block);
    let updated = update(coeffs, group.before.shrink * old, g, &state);
    store_state(row.z + at, live, state);
    store_params(row.x + at, live, select(old, updated, live));
}
