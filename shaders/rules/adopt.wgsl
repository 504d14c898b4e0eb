// ADOPT.

struct Coeffs {
    lr: f32,
    first: f32,          // 1 at the first step, otherwise 0
    limit: f32,          // (t - 1)^(1/4)
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
    decay: f32,          // lr weight_decay where that is decoupled, otherwise 0
}

struct State {
    exp_avg: Real,
    exp_avg_sq: Real,
}

override clip: bool;

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    if c.first > 0.0 {
        (*s).exp_avg_sq = g * g;
        return p;
    }
    // By the second moment of the steps before this one.
    var x = g / max(sqrt((*s).exp_avg_sq), Real(c.eps));
    if clip {
        // Written so that a NaN stays one.
        x = select(x, sign(x) * c.limit, abs(x) > Real(c.limit));
    }
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * x;
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * g * g;
    return p - (c.lr * (*s).exp_avg + c.decay * p);
}
