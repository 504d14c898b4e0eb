// What a thread sums up of a block, from what 64 threads would (`part_sum`).
// #import partials

// #if subgroups
// Eight threads share a block: each takes the parts of eight threads, so that neighbouring threads
// touch neighbouring elements.
fn thread_sum(block: u32, thread: u32) -> Summand {
    let low = plus(
        plus(part_sum(block, thread), part_sum(block, thread + 8u)),
        plus(part_sum(block, thread + 16u), part_sum(block, thread + 24u)),
    );
    let high = plus(
        plus(part_sum(block, thread + 32u), part_sum(block, thread + 40u)),
        plus(part_sum(block, thread + 48u), part_sum(block, thread + 56u)),
    );
    return plus(low, high);
}
// #else
fn thread_sum(block: u32, thread: u32) -> Summand {
    return part_sum(block, thread);
}

fn sum_block(first: u32, member: u32) {
    sum_64(first, member);
}
// #end
