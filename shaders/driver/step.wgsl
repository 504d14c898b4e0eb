// The only update entry point: finds the block's elements, loads, calls the rule, stores.
//
// Linked before this: WORKGROUP_SIZE and the like, LIVE_BITS, GROUPS, `Real`, the rule, the arrays with their
// load and store functions, `load_state` and `store_state`.

// Before<T> in src/rule.rs.
struct Before {
    sign: f32,
    weight_decay: f32,
    shrink: f32,
}

// What the host uploads for each group in each step.
struct Group {
    before: Before,
    @align(16) rule: Coeffs, // as uniform buffers want structs
}

// A row for each block of the dispatch: where its parameters, gradients and states start, and, in one
// word, how many of its elements are the parameter's (LIVE_BITS) and its group's index (the rest).
// Written by `Dispatch::table` in src/plan.rs.
@group(0) @binding(0) var<storage, read> table: array<vec4<u32>>;
@group(1) @binding(0) var<uniform> groups: array<Group, GROUPS>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn step(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let block = (workgroup.y * grid.x + workgroup.x) * BLOCKS_PER_WORKGROUP
        + invocation / THREADS_PER_BLOCK;
    if block >= arrayLength(&table) {
        return;
    }
    let row = table[block];

    // The thread's elements, counted within the block. The first is the smallest; those past the
    // parameter's end repeat it when loading and are not stored.
    let lanes = lanes_of(invocation % THREADS_PER_BLOCK);
    let live = lanes < vec4<u32>(row.w & ((1u << LIVE_BITS) - 1u));
    if !live.x {
        return;
    }
    let at = select(vec4<u32>(lanes.x), lanes, live);

    let group = groups[row.w >> LIVE_BITS];
    let old = load_params(row.x + at);
    var g = group.before.sign * load_grads(row.y + at);
    g = select(g, g + group.before.weight_decay * old, group.before.weight_decay != 0.0);
    var state = load_state(row.z + at);
    let updated = update(group.rule, group.before.shrink * old, g, &state);
    store_state(row.z + at, live, state);
    store_params(row.x + at, live, select(old, updated, live));
}
