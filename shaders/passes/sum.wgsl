// A rule's sum pass: what each element adds to the sums that the rule declares.
// #import blocks
// #import around
// #import rule
// #import states
// #if keeps
// #import keep
// #end
// #import rule_summand
// #import parts

fn part_sum(block: u32, thread: u32) -> Summand {
    let row = row_of(block);
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    let at = loaded_lanes(lanes, row);
    let slot = slot_of(row);
    // #if keeps
    let p = exact_params(row, at);
    // #else
    let p = load_params(row.x + at);
    // #end
    // #if clip_grad_tensor
    let loaded = grad_scale(slot.numbers, block) * load_grads(row.y + at);
    let g = gradient(slot.around, p, loaded);
    // #else
    let g = gradient(slot.around, p, load_grads(row.y + at));
    // #end
    var state = load_state(row.z + at);
    return rule_summand(summands(slot.rule, p, g, &state), live);
}
