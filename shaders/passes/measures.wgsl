// What is known of some gradients, or of all: sums of squares and, as their fourth component, the
// largest magnitude, of those that are finite; and how many are not.

struct Measure {
    sums: vec4<f32>,
    non_finite: u32,
    nan: u32, // more than 0 if there is a NaN
    // The first that is not finite: its block's place, and its lane. NONE if all are.
    block: u32,
    lane: u32,
}

const NONE = 0xffffffffu;

// What a tree adds up: measures.
alias Summand = Measure;

fn plus(a: Measure, b: Measure) -> Measure {
    // A measure of nothing is all zeros, and has no first.
    let a_first = a.non_finite > 0u
        && (b.non_finite == 0u || a.block < b.block || (a.block == b.block && a.lane < b.lane));
    return Measure(
        vec4<f32>(a.sums.xyz + b.sums.xyz, max(a.sums.w, b.sums.w)),
        a.non_finite + b.non_finite,
        a.nan + b.nan,
        select(b.block, a.block, a_first),
        select(b.lane, a.lane, a_first),
    );
}

// #if subgroups
// That of the thread whose index within eight differs in this bit.
fn exchanged(own: Measure, bit: u32) -> Measure {
    return Measure(
        subgroupShuffleXor(own.sums, bit),
        subgroupShuffleXor(own.non_finite, bit),
        subgroupShuffleXor(own.nan, bit),
        subgroupShuffleXor(own.block, bit),
        subgroupShuffleXor(own.lane, bit),
    );
}
// #end
