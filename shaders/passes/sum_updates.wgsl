// What modifiers must know of each tensor's update, which the update pass takes once more.
// #import blocks
// #import around
// #import rule
// #import states
// #import modify
// #if keeps
// #import keep
// #end
// #if sums
// #import tensor_coeffs
// #end
// #import squares
// #import parts

fn part_sum(block: u32, thread: u32) -> Summand {
    let row = row_of(block);
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    let at = loaded_lanes(lanes, row);
    let slot = slot_of(row);
    // #if keeps
    let old = exact_params(row, at);
    // #else
    let old = load_params(row.x + at);
    // #end
    // #if clip_grad_tensor
    let loaded = grad_scale(slot.numbers, block) * load_grads(row.y + at);
    // #else
    let loaded = load_grads(row.y + at);
    // #end
    // #if sums
    let coeffs = tensor_coeffs(slot.rule, block);
    // #else
    let coeffs = slot.rule;
    // #end
    var state = load_state(row.z + at);
    let updated = update(coeffs, old, gradient(slot.around, old, loaded), &state);
    let change = select(Real(0.0), old - updated, live);
    let one = select(Real(0.0), Real(1.0), live);
    // #if cautious
    let disagrees = disagree(change, plain_gradient(slot.around, old, loaded));
    // #end
    return Summand(
        total(one),
        // #if cautious
        total(select(one, Real(0.0), disagrees)),
        // #end
        // #if clip_update
        squares(change),
        // #end
    );
}
