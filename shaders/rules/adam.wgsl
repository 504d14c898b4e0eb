// Adam, and AdamW, which differs only in what happens around the update.

struct Coeffs {
    step_size: f32,       // lr / (1 - beta1^t)
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_sqrt_bias2: f32,  // 1 / sqrt(1 - beta2^t), or 1 if the maximum is of corrected ones
    eps: f32,
    max_scale: f32,       // 1, or then 1 / (1 - beta2^t)
}

struct State {
    exp_avg: Real,
    exp_avg_sq: Real,
    max_exp_avg_sq: Real, // with amsgrad
}

override amsgrad: bool;

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g;
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * g * g;
    var second_moment = (*s).exp_avg_sq;
    if amsgrad {
        // Written so that a NaN is the larger.
        let known = (*s).max_exp_avg_sq;
        let found = c.max_scale * (*s).exp_avg_sq;
        second_moment = select(found, known, known > found);
        (*s).max_exp_avg_sq = second_moment;
    }
    let denominator = sqrt(second_moment) * c.inv_sqrt_bias2 + c.eps;
    return p - c.step_size * ((*s).exp_avg / denominator);
}
