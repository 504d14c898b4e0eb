// A tree of additions in workgroup memory, by eights: a fixed order, without atomics and without
// loops, and few barriers, which cost the most. `Summand` and `plus` are what is added up, and how.
// #if measures
// #import measures
// #else
// #import summand
// #end

var<workgroup> sums: array<Summand, WORKGROUP_SIZE>;

// Eight sums, so far apart.
fn eight(first: u32, apart: u32) -> Summand {
    let low = plus(
        plus(sums[first], sums[first + apart]),
        plus(sums[first + 2u * apart], sums[first + 3u * apart]),
    );
    let high = plus(
        plus(sums[first + 4u * apart], sums[first + 5u * apart]),
        plus(sums[first + 6u * apart], sums[first + 7u * apart]),
    );
    return plus(low, high);
}

// Adds up the sums of 16, 64 or 256 neighbours; the first of them has the total. `member` counts
// within them, `first` is the first's.
fn sum_16(first: u32, member: u32) {
    workgroupBarrier();
    if member == 0u {
        sums[first] = plus(eight(first, 1u), eight(first + 8u, 1u));
    }
}

fn sum_64(first: u32, member: u32) {
    workgroupBarrier();
    if member < 8u {
        sums[first + 8u * member] = eight(first + 8u * member, 1u);
    }
    workgroupBarrier();
    if member == 0u {
        sums[first] = eight(first, 8u);
    }
}

fn sum_256(member: u32) {
    workgroupBarrier();
    if member < 32u {
        sums[8u * member] = eight(8u * member, 1u);
    }
    workgroupBarrier();
    if member < 4u {
        sums[64u * member] = eight(64u * member, 8u);
    }
    workgroupBarrier();
    if member == 0u {
        sums[0] = plus(plus(sums[0], sums[64]), plus(sums[128], sums[192]));
    }
}

