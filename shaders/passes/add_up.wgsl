// Adds up partial sums, a row a workgroup, in a fixed order and without atomics. `rows` has the
// first of each row's parts, and how many there are: at most SUM_LENGTH.
// #import tree

fn part(row: vec2<u32>, index: u32) -> Summand {
    if index < row.y {
        return parts[row.x + index];
    }
    return Summand();
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = workgroup.y * grid.x + workgroup.x;
    var row = vec2<u32>();
    if index < arrayLength(&rows) {
        row = rows[index];
    }
    let low = plus(part(row, invocation), part(row, invocation + WORKGROUP_SIZE));
    let high = plus(
        part(row, invocation + 2u * WORKGROUP_SIZE),
        part(row, invocation + 3u * WORKGROUP_SIZE),
    );
    sums[invocation] = plus(low, high);
    sum_256(invocation);
    if invocation == 0u && index < arrayLength(&rows) {
        totals[index] = sums[0];
    }
}
