// LaProp.

struct Coeffs {
    step_size: f32,       // lr over the running mean of lr
    beta1: f32,
    gain: f32,            // (1 - beta1) lr
    beta2: f32,
    one_minus_beta2: f32,
    inv_sqrt_bias2: f32,  // 1 / sqrt(1 - beta2^t)
    eps: f32,
    decay: f32,           // lr weight_decay
}

struct State {
    exp_avg: Real,
    exp_avg_sq: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * g * g;
    let denominator = sqrt((*s).exp_avg_sq) * c.inv_sqrt_bias2 + c.eps;
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.gain * (g / denominator);
    let moved = p - c.step_size * (*s).exp_avg;
    return moved - c.decay * moved;
}
