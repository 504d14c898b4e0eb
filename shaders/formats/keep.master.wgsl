// An f32 master beside a 16-bit parameter. Where the parameter is not the master's rounding,
// someone else has written it since, or no step was taken yet: then it is its own master.

fn exact_params(row: vec4<u32>, at: vec4<u32>) -> Real {
    let halves = halves_params(row.x + at);
    let master = load_state_master_param(row.z + at);
    return select(decode_CODEC(halves), master, encode_CODEC(master) == halves);
}
// #if params_is_written
fn store_exact(row: vec4<u32>, at: vec4<u32>, live: vec4<bool>, value: Real) {
    store_state_master_param(row.z + at, live, value);
    store_params(row.x + at, live, value);
}
// #end
