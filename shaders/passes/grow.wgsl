// Copies step counts from a buffer that was too small, unless a step that ran did it before. One
// workgroup.
// #import wide

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) invocation: u32) {
    let is_new = step_counts.latest == 0u;
    workgroupBarrier();
    let count = select(0u, arrayLength(&outgrown.counts), is_new);
    for (var index = invocation; index < count; index += WORKGROUP_SIZE) {
        step_counts.counts[index] = outgrown.counts[index];
    }
    if is_new && invocation == 0u {
        step_counts.latest = outgrown.latest;
    }
}
