// A tree of additions in workgroup memory: a fixed order, without atomics and without loops.
//
// Linked before this: `Summand` and `plus`.

var<workgroup> sums: array<Summand, WORKGROUP_SIZE>;

// Adds the upper half of what is left of some neighbours' sums to the lower; `member` counts within them.
fn halve(invocation: u32, member: u32, half: u32) {
    workgroupBarrier();
    if member < half {
        sums[invocation] = plus(sums[invocation], sums[invocation + half]);
    }
}

// Adds up the sums of 64 neighbours; the first of them has the total.
fn sum_64(invocation: u32, member: u32) {
    halve(invocation, member, 32u);
    halve(invocation, member, 16u);
    halve(invocation, member, 8u);
    halve(invocation, member, 4u);
    halve(invocation, member, 2u);
    halve(invocation, member, 1u);
}

// Adds up the sums of a whole workgroup; the first of them has the total.
fn sum_256(invocation: u32) {
    halve(invocation, invocation, 128u);
    halve(invocation, invocation, 64u);
    sum_64(invocation, invocation);
}

