// What a thread adds to its block's norms: the squares of the parameters and of the rule's directions.

fn thread_sum(block: u32, thread: u32) -> Norms {
    let row = row_of(block);
    let lanes = lanes_of(thread);
    let live = live_lanes(lanes, row);
    let at = loaded_lanes(lanes, row);
    let group = group_of(row);
    let loaded = load_params(row.x + at);
    let g = gradient(group.before, loaded, load_grads(row.y + at));
    let p = group.before.shrink * loaded;
    var state = load_state(row.z + at);
    let u = direction(group.rule, p, g, &state);
    return Norms(squares(select(Real(0.0), p, live)), squares(select(Real(0.0), u, live)));
}

