// A step that only updates.
@compute @workgroup_size(WORKGROUP_SIZE)
fn step(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let block = block_of(workgroup, grid, invocation);
    _ = step_thread(block, invocation % THREADS_PER_BLOCK);
}
