// RAdam.

struct Coeffs {
    step_size: f32, // lr / (1 - beta1^t), once rectified times r sqrt(1 - beta2^t)
    rectified: f32, // 1 once the variance is bounded, otherwise 0
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    eps: f32,
}

struct State {
    exp_avg: Real,
    exp_avg_sq: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g;
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * g * g;
    let root = sqrt((*s).exp_avg_sq) + c.eps;
    let denominator = select(Real(1.0), root, c.rectified > 0.0);
    return p - c.step_size * ((*s).exp_avg / denominator);
}
