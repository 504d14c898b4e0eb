// Adamax.

struct Coeffs {
    step_size: f32, // lr / (1 - beta1^t)
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    eps: f32,
}

struct State {
    exp_avg: Real,
    exp_inf: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g;
    // Written so that a gradient's NaN is the larger.
    let known = c.beta2 * (*s).exp_inf;
    let found = abs(g) + c.eps;
    (*s).exp_inf = select(found, known, known > found);
    return p - c.step_size * ((*s).exp_avg / (*s).exp_inf);
}
