// The blocks of a dispatch: which one an invocation works on, and where its elements are.
//
// `table` has a row for each block: where its parameters, gradients and states start, and, in one
// word, how many of its elements are the parameter's (LIVE_BITS) and its coefficient slot (the
// rest).

// #if u64
// #import pairs
fn load_row(block: u32) -> vec4<u32> {
    return unpacked(table[block]);
}
// #else
fn load_row(block: u32) -> vec4<u32> {
    return table[block];
}
// #end

// The block that an invocation works on. The grid's last row may reach past the table.
fn block_of(workgroup: vec3<u32>, grid: vec3<u32>, invocation: u32) -> u32 {
    return (workgroup.y * grid.x + workgroup.x) * BLOCKS_PER_WORKGROUP
        + invocation / THREADS_PER_BLOCK;
}

const LIVE_MASK = (1u << LIVE_BITS) - 1u;

// A block's row. Past the table's end a row has no elements.
//
// Nothing that follows is skipped for a thread without elements but its stores: loads in a branch
// cost all threads more than some threads' needless loads.
fn row_of(block: u32) -> vec4<u32> {
    let last = arrayLength(&table) - 1u;
    let row = load_row(min(block, last));
    return vec4<u32>(row.xyz, select(row.w, row.w & ~LIVE_MASK, block > last));
}

// #if strided
// Which four elements of a block a thread takes: a quarter of the block apart, so that neighbouring
// threads touch neighbouring elements.
fn lanes_of(thread: u32) -> vec4<u32> {
    return vec4<u32>(thread) + THREADS_PER_BLOCK * vec4<u32>(0u, 1u, 2u, 3u);
}
// #else
// Which four elements of a block a thread takes: neighbours, so that they are one vec4.
fn lanes_of(thread: u32) -> vec4<u32> {
    return vec4<u32>(4u * thread) + vec4<u32>(0u, 1u, 2u, 3u);
}
// #end

// Which of a thread's elements are the parameter's, rather than past its end.
fn live_lanes(lanes: vec4<u32>, row: vec4<u32>) -> vec4<bool> {
    return lanes < vec4<u32>(row.w & LIVE_MASK);
}

// What a thread loads, whichever of its elements are the parameter's: those past the end repeat the
// last.
fn loaded_lanes(lanes: vec4<u32>, row: vec4<u32>) -> vec4<u32> {
    return min(lanes, vec4<u32>(max(row.w & LIVE_MASK, 1u) - 1u));
}
