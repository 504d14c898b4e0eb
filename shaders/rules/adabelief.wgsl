// AdaBelief.

struct Coeffs {
    step_size: f32,      // lr / (1 - beta1^t)
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_sqrt_bias2: f32, // 1 / sqrt(1 - beta2^t)
    eps: f32,
    eps_root: f32,
}

struct State {
    exp_avg: Real,
    exp_avg_var: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g;
    let stray = g - (*s).exp_avg;
    (*s).exp_avg_var = c.beta2 * (*s).exp_avg_var + c.one_minus_beta2 * stray * stray + c.eps_root;
    let denominator = sqrt((*s).exp_avg_var) * c.inv_sqrt_bias2 + c.eps;
    return p - c.step_size * ((*s).exp_avg / denominator);
}
