// NAdam, with PyTorch's momentum schedule.

struct Coeffs {
    grad_step: f32,      // lr (1 - mu_t) / (1 - product)
    momentum_step: f32,  // lr mu_(t+1) / (1 - product mu_(t+1))
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_sqrt_bias2: f32, // 1 / sqrt(1 - beta2^t)
    eps: f32,
}

struct State {
    exp_avg: Real,
    exp_avg_sq: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g;
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * g * g;
    let denominator = sqrt((*s).exp_avg_sq) * c.inv_sqrt_bias2 + c.eps;
    return p - (c.grad_step * g + c.momentum_step * (*s).exp_avg) / denominator;
}
