// Exchanges parameters and their averages. On the CPU it is `swap_average` in src/cpu/tensor.rs.
// #import blocks
// #if keeps
// #import keep
// #end

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let row = row_of(block_of(workgroup, grid, invocation));
    let lanes = lanes_of(invocation % THREADS_PER_BLOCK);
    let live = live_lanes(lanes, row);
    let at = loaded_lanes(lanes, row);
    // #if keeps
    let param = exact_params(row, at);
    // #else
    let param = load_params(row.x + at);
    // #end
    let average = load_state_average(row.z + at);
    if live.x {
        store_state_average(row.z + at, live, param);
        // #if keeps
        store_exact(row, at, live, average);
        // #else
        store_params(row.x + at, live, average);
        // #end
    }
}
