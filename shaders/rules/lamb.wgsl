// LAMB.

struct Coeffs {
    lr: f32,             // times the tensor's trust ratio, by with_sums
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_bias1: f32,      // 1 / (1 - beta1^t)
    inv_sqrt_bias2: f32, // 1 / sqrt(1 - beta2^t)
    eps: f32,
    weight_decay: f32,
}

struct State {
    exp_avg: Real,
    exp_avg_sq: Real,
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

fn direction(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g;
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * g * g;
    let denominator = sqrt((*s).exp_avg_sq) * c.inv_sqrt_bias2 + c.eps;
    return c.inv_bias1 * ((*s).exp_avg / denominator) + c.weight_decay * p;
}

fn summands(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Summands {
    return Summands(p, direction(c, p, g, s));
}

const MOST_RATIO = 1e37; // as in src/rules/mod.rs

fn with_sums(c: Coeffs, sums: Sums) -> Coeffs {
    let ratio = sums.param / sums.direction;
    // Beyond, products with it leave f32's range.
    let unknown = sums.param == 0.0 || sums.direction == 0.0 || ratio > MOST_RATIO;
    var own = c;
    own.lr *= select(ratio, 1.0, unknown);
    return own;
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    return p - c.lr * direction(c, p, g, s);
}
