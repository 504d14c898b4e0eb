// Adadelta.

struct Coeffs {
    lr: f32,
    rho: f32,
    one_minus_rho: f32,
    eps: f32,
}

struct State {
    square_avg: Real,
    acc_delta: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).square_avg = c.rho * (*s).square_avg + c.one_minus_rho * g * g;
    let delta = sqrt((*s).acc_delta + c.eps) / sqrt((*s).square_avg + c.eps) * g;
    (*s).acc_delta = c.rho * (*s).acc_delta + c.one_minus_rho * delta * delta;
    return p - c.lr * delta;
}
