// Adds up what the threads of each block have, in a fixed order and without atomics.
//
// Linked before this: `table.wgsl`, `tree.wgsl`, `thread_sum`, `sum_block`, the blocks' `tensors` and their `partials`.

@compute @workgroup_size(WORKGROUP_SIZE)
fn partial_sums(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let block = block_of(workgroup, grid, invocation);
    let thread = invocation % THREADS_PER_BLOCK;
    // Every thread takes part in the barriers, also one that has nothing to add.
    sums[invocation] = thread_sum(block, thread);
    sum_block(invocation - thread, thread);
    if thread == 0u && block < arrayLength(&table) {
        partials[tensors[block].x] = sums[invocation];
    }
}
