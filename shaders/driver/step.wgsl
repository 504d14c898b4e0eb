// The only update entry point: finds the block's segment, loads, calls the rule, stores.
//
// Linked before this: BLOCK and THREADS_PER_BLOCK, `Real`, the rule, the arrays with their load and
// store functions, `load_state` and `store_state`.

// Before<T> in src/rule.rs.
struct Before {
    sign: f32,
    weight_decay: f32,
    shrink: f32,
}

// What the host uploads for each group in each step.
struct Group {
    before: Before,
    rule: Coeffs,
}

// The dispatch's table: a header, two vec4 a segment, then the segment of each block, four to a vec4.
// Written by `Dispatch::table` in src/plan.rs.
@group(0) @binding(0) var<storage, read> table: array<vec4<u32>>;
@group(1) @binding(0) var<storage, read> groups: array<Group>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn step(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let header = table[0];
    let blocks = header.x;
    let row = header.y;
    let map = header.z;
    let block = (workgroup.y * row + workgroup.x) * BLOCKS_PER_WORKGROUP
        + invocation / THREADS_PER_BLOCK;
    if block >= blocks {
        return;
    }
    let segment = table[map + block / 4u][block % 4u];
    let place = table[1u + 2u * segment];
    let extent = table[2u + 2u * segment];

    // The thread's elements, counted within the segment. The first is the smallest; those past the
    // segment's end repeat it when loading and are not stored.
    let lanes = lanes_of(invocation % THREADS_PER_BLOCK) + BLOCK * (block - extent.x);
    let live = lanes < vec4<u32>(extent.y);
    if !live.x {
        return;
    }
    let at = select(vec4<u32>(lanes.x), lanes, live);

    let group = groups[place.w];
    let old = load_params(place.x + at);
    var g = group.before.sign * load_grads(place.y + at);
    g = select(g, g + group.before.weight_decay * old, group.before.weight_decay != 0.0);
    var state = load_state(place.z + at);
    let updated = update(group.rule, group.before.shrink * old, g, &state);
    store_state(place.z + at, live, state);
    store_params(place.x + at, live, select(old, updated, live));
}
