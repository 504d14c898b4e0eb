// Measures gradients, as they arrived. Few threads share a block and take many elements each: fewer
// sums meet. 16 threads meet in workgroup memory; where the device has subgroups, 8 exchange their
// sums without a barrier; where threads that meet cost most, one has a block alone and adds up what
// the 16 would, to the same bits.
// #import blocks
// #import partials

// #if memory
fn sum_block(first: u32, member: u32) {
    sum_16(first, member);
}
// #end

const INFINITE = vec4<u32>(0x7f800000u);

// The bits of four magnitudes; 0 for those that are not the parameter's. All is told by bits: a
// compiler may take it that there are neither infinities nor NaN.
fn magnitudes(row: vec4<u32>, lanes: vec4<u32>) -> vec4<u32> {
    let live = live_lanes(lanes, row);
    let loaded = load_grads(row.y + loaded_lanes(lanes, row));
    return select(vec4<u32>(0u), bitcast<vec4<u32>>(loaded) & vec4<u32>(0x7fffffffu), live);
}

fn finite(magnitudes: vec4<u32>) -> vec4<u32> {
    return select(magnitudes, vec4<u32>(0u), magnitudes >= INFINITE);
}

// The lanes of what is not finite, NONE of what is.
fn bad_lanes(magnitudes: vec4<u32>, lanes: vec4<u32>) -> vec4<u32> {
    return select(vec4<u32>(NONE), lanes, magnitudes >= INFINITE);
}

fn largest_of(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>) -> u32 {
    let four = max(max(a, b), max(c, d));
    return max(max(four.x, four.y), max(four.z, four.w));
}

fn square(magnitudes: vec4<u32>, scale: f32) -> f32 {
    let scaled = scale * bitcast<vec4<f32>>(magnitudes);
    return dot(scaled, scaled);
}

// The measure of sixteen elements: those of four threads of an update, so far apart.
fn sixteen(block: u32, thread: u32) -> Measure {
    let row = row_of(block);
    // #if alone
    let apart = 16u;
    // #else
    let apart = THREADS_PER_BLOCK;
    // #end
    let a_lanes = lanes_of(thread);
    let b_lanes = lanes_of(thread + apart);
    let c_lanes = lanes_of(thread + 2u * apart);
    let d_lanes = lanes_of(thread + 3u * apart);
    let a = magnitudes(row, a_lanes);
    let b = magnitudes(row, b_lanes);
    let c = magnitudes(row, c_lanes);
    let d = magnitudes(row, d_lanes);

    // Sixteen squares share a scale, that of the largest: what vanishes beside it would not have
    // counted. The scales and their bounds are those of `squares.wgsl`.
    let largest = largest_of(finite(a), finite(b), finite(c), finite(d));
    let is_small = largest < bitcast<u32>(0x1p-40f);
    let is_large = largest > bitcast<u32>(0x1p40f);
    let scale = select(select(1.0, 0x1p-80f, is_large), 0x1p80f, is_small);
    let sum = (square(finite(a), scale) + square(finite(b), scale))
        + (square(finite(c), scale) + square(finite(d), scale));
    let is_middling = !is_small && !is_large;
    let in_scale = vec3<bool>(is_small, is_middling, is_large);
    let sums = vec4<f32>(select(vec3<f32>(0.0), vec3<f32>(sum), in_scale), bitcast<f32>(largest));
    if largest_of(a, b, c, d) < INFINITE.x {
        return Measure(sums, 0u, 0u, NONE, NONE);
    }

    let a_bad = bad_lanes(a, a_lanes);
    let b_bad = bad_lanes(b, b_lanes);
    let c_bad = bad_lanes(c, c_lanes);
    let d_bad = bad_lanes(d, d_lanes);
    let first = min(min(a_bad, b_bad), min(c_bad, d_bad));
    let count = vec4<u32>(a_bad != vec4<u32>(NONE)) + vec4<u32>(b_bad != vec4<u32>(NONE))
        + vec4<u32>(c_bad != vec4<u32>(NONE)) + vec4<u32>(d_bad != vec4<u32>(NONE));
    return Measure(
        sums,
        count.x + count.y + count.z + count.w,
        u32(largest_of(a, b, c, d) > INFINITE.x),
        tensors[block].x,
        min(min(first.x, first.y), min(first.z, first.w)),
    );
}

// #if alone
// What eight of the 16 threads add up, in the order of `eight` in `tree.wgsl`.
fn eight(block: u32, first: u32) -> Measure {
    let low = plus(
        plus(sixteen(block, first), sixteen(block, first + 1u)),
        plus(sixteen(block, first + 2u), sixteen(block, first + 3u)),
    );
    let high = plus(
        plus(sixteen(block, first + 4u), sixteen(block, first + 5u)),
        plus(sixteen(block, first + 6u), sixteen(block, first + 7u)),
    );
    return plus(low, high);
}
// #end

fn thread_sum(block: u32, thread: u32) -> Measure {
    // #if alone
    return plus(eight(block, 0u), eight(block, 8u));
    // #else
    // #if subgroups
    return plus(sixteen(block, thread), sixteen(block, thread + 4u * THREADS_PER_BLOCK));
    // #else
    return sixteen(block, thread);
    // #end
    // #end
}
