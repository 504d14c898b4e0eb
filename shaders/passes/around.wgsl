// What happens around every rule: to the gradient before it, to the parameter after it, and which
// coefficients it gets. The twin is src/rule/around.rs.
// #if numbers
// #import modify
// #end

// Around<T> in src/rule/around.rs.
struct Around {
    maximize: f32, // not 0 to ascend
    weight_decay: f32,
    decay: f32,
    step: f32, // the step's number
}

// A coefficient slot of the page that the host, or `decide.wgsl`, fills for each step.
struct Slot {
    around: Around,
    @align(16) rule: Coeffs, // as uniform buffers want structs
    // #if numbers
    @align(16) numbers: Numbers,
    // #end
}

fn slot_of(row: vec4<u32>) -> Slot {
    // An index that is known makes the numbers the same for all threads, which some drivers load
    // for less.
    return page[select(row.w >> LIVE_BITS, 0u, SLOTS == 1u)];
}

// Written so that a NaN stays one.
fn clamped(g: Real, limit: f32) -> Real {
    return select(g, sign(g) * limit, abs(g) > Real(limit));
}

// The gradient that the rule sees.
fn gradient(around: Around, p: Real, loaded: Real) -> Real {
    var g = select(verdict.factor, -verdict.factor, around.maximize != 0.0) * loaded;
    // #if clamp
    g = clamped(g, verdict.limit);
    // #end
    return select(g, g + around.weight_decay * p, around.weight_decay != 0.0);
}

// The parameter after the rule took it from `old` to `updated`.
fn finished(around: Around, old: Real, updated: Real) -> Real {
    return select(updated, updated - around.decay * old, around.decay != 0.0);
}
