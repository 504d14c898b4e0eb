// Adds up what the threads of each block have (`thread_sum`, by `sum_block`, by `sum_8`, or one
// thread's), in a fixed order and without atomics. `tensors` has each block's place among the
// partial sums, and its tensor's index.
// #import blocks
// #if memory
// #import tree
// #end
// #if subgroups
// #import subgroups
// #end
// #if alone
// #import measures
// #end

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    // #if subgroups
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) in_subgroup: u32,
    // #else
    @builtin(local_invocation_index) invocation: u32,
    // #end
) {
    // #if subgroups
    // Neighbours in a subgroup share a block, however the device numbers a workgroup's invocations.
    let invocation = subgroup * subgroup_size + in_subgroup;
    // #end
    let block = block_of(workgroup, grid, invocation);
    let thread = invocation % THREADS_PER_BLOCK;
    // Every thread takes part in the exchange, also one that has nothing to add.
    // #if subgroups
    let sum = sum_8(thread_sum(block, thread));
    // #end
    // #if alone
    let sum = thread_sum(block, thread);
    // #end
    // #if memory
    sums[invocation] = thread_sum(block, thread);
    sum_block(invocation - thread, thread);
    let sum = sums[invocation];
    // #end
    if thread == 0u && block < arrayLength(&table) {
        partials[tensors[block].x] = sum;
    }
}
