// AdEMAMix.

struct Coeffs {
    fast_step: f32,       // lr / (1 - beta1^t)
    slow_step: f32,       // lr alpha_t
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    beta3: f32,           // that of the step, in the warm-up
    one_minus_beta3: f32,
    inv_sqrt_bias2: f32,  // 1 / sqrt(1 - beta2^t)
    eps: f32,
}

struct State {
    exp_avg_fast: Real,
    exp_avg_slow: Real,
    exp_avg_sq: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).exp_avg_fast = c.beta1 * (*s).exp_avg_fast + c.one_minus_beta1 * g;
    (*s).exp_avg_slow = c.beta3 * (*s).exp_avg_slow + c.one_minus_beta3 * g;
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * g * g;
    let denominator = sqrt((*s).exp_avg_sq) * c.inv_sqrt_bias2 + c.eps;
    return p - (c.fast_step * (*s).exp_avg_fast + c.slow_step * (*s).exp_avg_slow) / denominator;
}
