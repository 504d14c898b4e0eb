// LARS. Weight decay is in g already.

struct Coeffs {
    lr: f32, // times the tensor's trust ratio, by with_sums
    trust_coefficient: f32,
    momentum: f32,
}

struct State {
    momentum_buffer: Real,
}

struct Summands {
    param: Real,
    direction: Real,
}

// Norms of the tensor.
struct Sums {
    param: f32,
    direction: f32,
}

fn summands(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Summands {
    return Summands(p, g);
}

const MOST_RATIO = 1e37; // as in src/rules/mod.rs

fn with_sums(c: Coeffs, sums: Sums) -> Coeffs {
    let ratio = c.trust_coefficient * (sums.param / sums.direction);
    // Beyond, products with it leave f32's range.
    let unknown = sums.param == 0.0 || sums.direction == 0.0 || ratio > MOST_RATIO;
    var own = c;
    own.lr *= select(ratio, 1.0, unknown);
    return own;
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).momentum_buffer = c.momentum * (*s).momentum_buffer - c.lr * g;
    return p + (*s).momentum_buffer;
}
