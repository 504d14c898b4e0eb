// The table of a dispatch's blocks, and how invocations find theirs.
//
// Linked before this: WORKGROUP_SIZE and the like, LIVE_BITS, the table with `load_row`.

// The block that an invocation works on. The grid's last row may reach past the table.
fn block_of(workgroup: vec3<u32>, grid: vec3<u32>, invocation: u32) -> u32 {
    return (workgroup.y * grid.x + workgroup.x) * BLOCKS_PER_WORKGROUP
        + invocation / THREADS_PER_BLOCK;
}

const LIVE_MASK = (1u << LIVE_BITS) - 1u;

// Where a block's parameters, gradients and states start, and, in one word, how many of its elements are
// the parameter's (LIVE_BITS) and its group's index (the rest). Past the table's end a row has no elements.
//
// Nothing that follows is skipped for a thread without elements but its stores: loads in a branch cost all
// threads more than some threads' needless loads.
fn row_of(block: u32) -> vec4<u32> {
    let last = arrayLength(&table) - 1u;
    let row = load_row(min(block, last));
    return vec4<u32>(row.xyz, select(row.w, row.w & ~LIVE_MASK, block > last));
}

// Which of a thread's elements are the parameter's, rather than past its end.
fn live_lanes(lanes: vec4<u32>, row: vec4<u32>) -> vec4<bool> {
    return lanes < vec4<u32>(row.w & LIVE_MASK);
}

// What a thread loads, whichever of its elements are the parameter's: those past the end repeat the last.
fn loaded_lanes(lanes: vec4<u32>, row: vec4<u32>) -> vec4<u32> {
    return min(lanes, vec4<u32>(max(row.w & LIVE_MASK, 1u) - 1u));
}
