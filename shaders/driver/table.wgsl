// The table of a dispatch's blocks, and how invocations find theirs.
//
// Linked before this: WORKGROUP_SIZE and the like, LIVE_BITS.

// A row for each block of the dispatch: where its parameters, gradients and states start, and, in one
// word, how many of its elements are the parameter's (LIVE_BITS) and its group's index (the rest).
// Written by `Dispatch::table` in src/plan.rs.
@group(0) @binding(0) var<storage, read> table: array<vec4<u32>>;

// The block that an invocation works on. The grid's last row may reach past the table.
fn block_of(workgroup: vec3<u32>, grid: vec3<u32>, invocation: u32) -> u32 {
    return (workgroup.y * grid.x + workgroup.x) * BLOCKS_PER_WORKGROUP
        + invocation / THREADS_PER_BLOCK;
}

// Which of a thread's elements are the parameter's, rather than past its end.
fn live_lanes(lanes: vec4<u32>, row: vec4<u32>) -> vec4<bool> {
    return lanes < vec4<u32>(row.w & ((1u << LIVE_BITS) - 1u));
}

