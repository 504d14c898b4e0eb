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

fn with_sums(c: Coeffs, sums: Sums) -> Coeffs {
    let is_zero = sums.param == 0.0 || sums.direction == 0.0;
    var own = c;
    own.lr *= select(c.trust_coefficient * (sums.param / sums.direction), 1.0, is_zero);
    return own;
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).momentum_buffer = c.momentum * (*s).momentum_buffer - c.lr * g;
    return p + (*s).momentum_buffer;
}
