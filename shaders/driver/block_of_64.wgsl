// A block's sums are those of 64 threads.
fn sum_block(first: u32, member: u32) {
    sum_64(first, member);
}

