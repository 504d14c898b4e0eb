// Schedule-Free AdamW and RAdam, which differ in coefficients. The parameter is y, where gradients
// are taken.

struct Coeffs {
    first: f32,           // 1 at the first step, where z is the parameter, otherwise 0
    share: f32,           // the step's share of the average
    z_step: f32,          // lr, in the warm-up less; of RAdam rectified
    y_step: f32,          // (1 - beta1 (1 - share)) z_step
    beta2: f32,
    one_minus_beta2: f32,
    normalizes: f32,      // 1, or 0 in RAdam's first steps
    inv_sqrt_bias2: f32,  // 1 / sqrt(1 - beta2^t)
    eps: f32,
    weight_decay: f32,
}

struct State {
    z: Real,
    exp_avg_sq: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let z = select((*s).z, p, c.first > 0.0);
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * g * g;
    let root = sqrt((*s).exp_avg_sq) * c.inv_sqrt_bias2 + c.eps;
    let denominator = select(Real(1.0), root, c.normalizes > 0.0);
    let direction = g / denominator + c.weight_decay * p;
    (*s).z = z - c.z_step * direction;
    return p + (c.share * (z - p) - c.y_step * direction);
}
