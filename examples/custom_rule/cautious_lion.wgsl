// Cautious Lion, for Real = vec4<f32>: branches are `select`. Its twin is cautious_lion.rs.

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
    let cautious = select(Real(0.0), direction, direction * g > Real(0.0));
    return p - c.lr * cautious;
}
