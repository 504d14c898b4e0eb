// Adds up all partial sums to one entry a workgroup, in a fixed order and without atomics.
// #import tree

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let count = arrayLength(&parts);
    let share = (count + grid.x - 1u) / grid.x;
    let end = min((workgroup.x + 1u) * share, count);
    var own = Summand();
    for (var index = workgroup.x * share + invocation; index < end; index += WORKGROUP_SIZE) {
        own = plus(own, parts[index]);
    }
    sums[invocation] = own;
    sum_256(invocation);
    if invocation == 0u {
        totals[workgroup.x] = sums[0];
    }
}
