// A rule's sum pass: what each element adds to the sums that the rule declares.
// #import blocks
// #import around
// #import rule
// #import states
// #import rule_summand
// #import parts

fn part_sum(block: u32, thread: u32) -> Summand {
    let row = row_of(block);
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    let at = loaded_lanes(lanes, row);
    let slot = slot_of(row);
    let p = load_params(row.x + at);
    let g = gradient(slot.around, p, load_grads(row.y + at));
    var state = load_state(row.z + at);
    return rule_summand(summands(slot.rule, p, g, &state), live);
}
