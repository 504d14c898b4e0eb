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

// The sign, and NaN of a NaN, of which WGSL's `sign` may make anything.
fn sign_of(x: Real) -> Real {
    let magnitude = bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu);
    return select(sign(x), x, magnitude > vec4<u32>(0x7f800000u));
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let direction = sign_of(c.beta1 * (*s).exp_avg + c.one_minus_beta1 * g);
    (*s).exp_avg = c.beta2 * (*s).exp_avg + c.one_minus_beta2 * g;
    return p - c.lr * direction;
}
