// What modifiers do to elements that a rule has updated. The twin is src/rule/modifying.rs, which
// also computes the numbers.

// #if numbers
// Those of Numbers in src/rule/modifying.rs that some modifier asks for.
struct Numbers {
    // #if copies
    is_first: f32,       // not 0 at the parameter's first step, where copies of it start
    // #end
    // #if average
    average_rate: f32,
    // #end
    // #if lookahead
    lookahead_rate: f32, // 0 if the slow copy does not move
    // #end
    // #if bounds
    low: f32,
    high: f32,
    // #end
    // #if clip_grad_tensor
    grad_scale: f32,     // the gradient's largest norm
    // #end
    // #if scales
    update_scale: f32,   // the update's largest root mean square
    // #end
}
// #end

// #if clip_grad_tensor
// #import lengths
struct GradTotal {
    grad: vec4<f32>,
}

// What a block's gradient is multiplied by, by its tensor's norm.
fn grad_scale(numbers: Numbers, block: u32) -> f32 {
    return held_to(numbers.grad_scale, length_of(grad_totals[tensors[block].y].grad));
}
// #end

// #if held
// What holds a norm to a limit, written so that a NaN stays one.
fn held_to(limit: f32, norm: f32) -> f32 {
    return select(limit / norm, 1.0, norm <= limit);
}
// #end

// #if cautious
// Whether two numbers have opposite signs, or one is 0. A NaN disagrees with nothing.
fn disagree(a: Real, b: Real) -> vec4<bool> {
    let zero = Real(0.0);
    return ((a <= zero) & (b >= zero)) | ((a >= zero) & (b <= zero));
}

// The gradient that an update is held against: what the rule sees, without coupled decay.
fn plain_gradient(around: Around, old: Real, loaded: Real) -> Real {
    return gradient(Around(around.maximize, 0.0, 0.0, 0.0), old, loaded);
}
// #end

// #if modified
// #if scales
const LEAST_SHARE = 1e-3; // as in src/rule/modified.rs

struct UpdateTotal {
    elements: vec4<f32>,
    // #if cautious
    agreeing: vec4<f32>,
    // #end
    // #if clip_update
    // #import lengths
    update: vec4<f32>,
    // #end
}

// What a block's update is multiplied by, by its tensor's sums.
fn update_scale(numbers: Numbers, block: u32) -> f32 {
    let total = update_totals[tensors[block].y];
    var scale = 1.0;
    // #if clip_update
    scale = held_to(numbers.update_scale, length_of(total.update) / sqrt(total.elements.w));
    // #end
    // #if cautious
    scale /= max(total.agreeing.w / total.elements.w, LEAST_SHARE);
    // #end
    return scale;
}
// #end

// #if copies
// A number, a part of the way to another.
fn moved(start: Real, end: Real, rate: f32) -> Real {
    let between = start + rate * (end - start);
    return select(select(between, end, rate == 1.0), start, rate == 0.0);
}
// #end

struct Modified {
    param: Real,
    // #if average
    average: Real,
    // #end
    // #if lookahead
    slow: Real,
    // #end
}

// What becomes of a parameter that the rule took from `old` to `updated`, with the gradient as it
// was loaded, and of what is kept of it.
fn modified(
    slot: Slot,
    old: Real,
    loaded: Real,
    updated: Real,
    block: u32,
    at: vec4<u32>,
) -> Modified {
    var m: Modified;
    var p = updated;
    // #if scales
    let scale = update_scale(slot.numbers, block);
    p = select(old - scale * (old - updated), updated, scale == 1.0);
    // #end
    // #if cautious
    p = select(p, old, disagree(old - updated, plain_gradient(slot.around, old, loaded)));
    // #end
    // #if cautious_decay
    let zero = Real(0.0);
    let opposed = ((old - p > zero) & (old < zero)) | ((old - p < zero) & (old > zero));
    p = select(finished(slot.around, old, p), p, opposed);
    // #else
    p = finished(slot.around, old, p);
    // #end
    // #if bounds
    // Written so that a NaN stays one.
    p = select(p, Real(slot.numbers.low), p < Real(slot.numbers.low));
    p = select(p, Real(slot.numbers.high), p > Real(slot.numbers.high));
    // #end
    // #if lookahead
    let slow = select(load_state_slow(at), old, slot.numbers.is_first != 0.0);
    m.slow = moved(slow, p, slot.numbers.lookahead_rate);
    p = select(p, m.slow, slot.numbers.lookahead_rate != 0.0);
    // #end
    // #if average
    let average = select(load_state_average(at), old, slot.numbers.is_first != 0.0);
    m.average = moved(average, p, slot.numbers.average_rate);
    // #end
    m.param = p;
    return m;
}
// #end
