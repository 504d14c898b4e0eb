// What every kernel over blocks shares: the groups' numbers and the table of blocks.
//
// Linked before this: WORKGROUP_SIZE and the like, GROUPS, CLAMPS, `Real`, the rule, `table.wgsl`, the arrays
// with their load functions, `load_state` and, for a step, the store functions.

// Before<T> in src/rule.rs.
struct Before {
    sign: f32,
    weight_decay: f32,
    shrink: f32,
    limit: f32, // negative where the step is skipped
}

// What the host uploads for each group in each step.
struct Group {
    before: Before,
    @align(16) rule: Coeffs, // as uniform buffers want structs
}

@group(1) @binding(0) var<uniform> groups: array<Group, GROUPS>;

fn group_of(row: vec4<u32>) -> Group {
    // An index that is known makes the numbers the same for all threads, which some drivers load for less.
    return groups[select(row.w >> LIVE_BITS, 0u, GROUPS == 1u)];
}

// Written so that a NaN stays one.
fn clamped(g: Real, limit: f32) -> Real {
    return select(g, sign(g) * limit, abs(g) > Real(limit));
}

// The gradient that the rule sees.
fn gradient(before: Before, p: Real, loaded: Real) -> Real {
    var g = before.sign * loaded;
    if CLAMPS {
        g = clamped(g, before.limit);
    }
    return select(g, g + before.weight_decay * p, before.weight_decay != 0.0);
}
