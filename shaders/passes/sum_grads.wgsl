// The squares of each tensor's gradient, unscaled and clipped by the norm of all, for modifiers.
// #import blocks
// #import around
// #import rule
// #import squares
// #import parts

fn part_sum(block: u32, thread: u32) -> Summand {
    let row = row_of(block);
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    let g = verdict.factor * load_grads(row.y + loaded_lanes(lanes, row));
    return Summand(squares(select(Real(0.0), g, live)));
}
