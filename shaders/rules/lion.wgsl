// Lion.

struct Coeffs {
    lr: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
}

struct State {
    exp_avg: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let direction = sign(c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g);
    (*s).exp_avg = c.beta2 * (*s).exp_avg + c.one_minus_beta2 * g;
    return p - c.lr * direction;
}
