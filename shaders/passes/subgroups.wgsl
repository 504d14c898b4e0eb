// Additions within subgroups. `Summand`, `plus` and `exchanged` are what is added up, and how.
// #if measures
// #import measures
// #else
// #import summand
// #end

// The sum of eight neighbours, in the order of `eight` in `tree.wgsl`; the first has it.
fn sum_8(own: Summand) -> Summand {
    let two = plus(own, exchanged(own, 1u));
    let four = plus(two, exchanged(two, 2u));
    return plus(four, exchanged(four, 4u));
}
