// Adan.

struct Coeffs {
    first: f32,          // 1 at the first step, otherwise 0
    step_size: f32,      // lr / (1 - beta1^t)
    diff_step: f32,      // lr beta2 / (1 - beta2^t)
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    beta3: f32,
    one_minus_beta3: f32,
    inv_sqrt_bias3: f32, // 1 / sqrt(1 - beta3^t)
    eps: f32,
    prox_decay: f32,     // lr weight_decay / (1 + lr weight_decay), or 0 with no_prox
}

struct State {
    exp_avg: Real,
    exp_avg_diff: Real,
    exp_avg_sq: Real,
    neg_pre_grad: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let diff = select(g + (*s).neg_pre_grad, Real(0.0), c.first > 0.0);
    let ahead = g + c.beta2 * diff;
    (*s).neg_pre_grad = -g;
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g;
    (*s).exp_avg_diff = c.beta2 * (*s).exp_avg_diff + c.one_minus_beta2 * diff;
    (*s).exp_avg_sq = c.beta3 * (*s).exp_avg_sq + c.one_minus_beta3 * ahead * ahead;
    let denominator = sqrt((*s).exp_avg_sq) * c.inv_sqrt_bias3 + c.eps;
    let moved = p - (c.step_size * (*s).exp_avg + c.diff_step * (*s).exp_avg_diff) / denominator;
    return moved - c.prox_decay * moved;
}
