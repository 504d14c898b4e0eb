// Zeroes gradients that no update reads: those of frozen parameters. On the CPU it is `zero_grad`
// in src/cpu/mod.rs.
// #import blocks

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = row_of(block_of(workgroup, grid, invocation));
    let lanes = lanes_of(invocation % THREADS_PER_BLOCK);
    let live = live_lanes(lanes, row);
    if live.x {
        store_grads(row.y + loaded_lanes(lanes, row), live, Real(0.0));
    }
}
