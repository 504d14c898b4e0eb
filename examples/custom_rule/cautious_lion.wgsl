// Cautious Lion. `Real` is vec4<f32>, so branches are `select`. The Rust side is cautious_lion.rs.

struct Coeffs {
    lr: f32, // divided by the tensor's mean mask, by with_sums
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
}

struct State {
    exp_avg: Real,
}

// What each element adds to the tensor's sums.
struct Summands {
    moving: Real,
    elements: Real,
}

// The sums over the tensor.
struct Sums {
    moving: f32,
    elements: f32,
}

// Lion's direction, or 0 where the present gradient disagrees.
fn cautious(c: Coeffs, g: Real, exp_avg: Real) -> Real {
    let direction = sign(c.beta1 * exp_avg + c.one_minus_beta1 * g);
    return select(Real(0.0), direction, direction * g > Real(0.0));
}

fn summands(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Summands {
    return Summands(abs(cautious(c, g, (*s).exp_avg)), Real(1.0));
}

fn with_sums(c: Coeffs, sums: Sums) -> Coeffs {
    var own = c;
    own.lr /= max(sums.moving / sums.elements, 1e-3);
    return own;
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let direction = cautious(c, g, (*s).exp_avg);
    (*s).exp_avg = c.beta2 * (*s).exp_avg + c.one_minus_beta2 * g;
    return p - c.lr * direction;
}
