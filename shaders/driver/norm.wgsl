// Sums up each block's squares, of the parameters and of the rule's directions, in a fixed order and
// without atomics.

fn thread_norms(block: u32, thread: u32) -> Norms {
    let row = table[block];
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    if !live.x {
        return Norms();
    }
    let at = select(vec4<u32>(lanes.x), lanes, live);
    let group = group_of(row);
    let loaded = load_params(row.x + at);
    let g = gradient(group.before, loaded, load_grads(row.y + at));
    let p = group.before.shrink * loaded;
    var state = load_state(row.z + at);
    let u = direction(group.rule, p, g, &state);
    return Norms(squares(select(Real(0.0), p, live)), squares(select(Real(0.0), u, live)));
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn norm(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let block = block_of(workgroup, grid, invocation);
    let thread = invocation % THREADS_PER_BLOCK;
    // Every thread takes part in the barriers, also one that has nothing to add.
    var own = Norms();
    if block < arrayLength(&table) {
        own = thread_norms(block, thread);
    }
    sums[invocation] = own;
    sum_64(invocation, thread);
    if thread == 0u && block < arrayLength(&table) {
        norms[tensors[block].x] = sums[invocation];
    }
}
