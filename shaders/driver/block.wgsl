// What every kernel over blocks shares: the groups' numbers and the table of blocks.
//
// Linked before this: WORKGROUP_SIZE and the like, LIVE_BITS, GROUPS, `Real`, the rule, the arrays with
// their load functions, `load_state` and, for a step, the store functions.

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

// The block that an invocation works on. The grid's last row may reach past the table.
fn block_of(workgroup: vec3<u32>, grid: vec3<u32>, invocation: u32) -> u32 {
    return (workgroup.y * grid.x + workgroup.x) * BLOCKS_PER_WORKGROUP
        + invocation / THREADS_PER_BLOCK;
}

// Which of a thread's elements are the parameter's, rather than past its end.
fn live_lanes(lanes: vec4<u32>, row: vec4<u32>) -> vec4<bool> {
    return lanes < vec4<u32>(row.w & ((1u << LIVE_BITS) - 1u));
}

fn group_of(row: vec4<u32>) -> Group {
    return groups[row.w >> LIVE_BITS];
}

// The gradient that the rule sees.
fn gradient(before: Before, p: Real, loaded: Real) -> Real {
    let g = before.sign * loaded;
    return select(g, g + before.weight_decay * p, before.weight_decay != 0.0);
}
