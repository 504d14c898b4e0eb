// MARS, of AdamW.

struct Coeffs {
    scale: f32,           // 1 over the corrected gradient's norm if that is above 1, by with_sums
    correction: f32,      // gamma beta1 / (1 - beta1)
    step_size: f32,       // lr / (1 - beta1^t)
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    inv_sqrt_bias2: f32,  // 1 / sqrt(1 - beta2^t)
    eps: f32,
}

struct State {
    exp_avg: Real,
    exp_avg_sq: Real,
    last_grad: Real,
}

struct Summands {
    corrected: Real,
}

// The norm over the tensor.
struct Sums {
    corrected: f32,
}

fn corrected(c: Coeffs, g: Real, s: ptr<function, State>) -> Real {
    return g + c.correction * (g - (*s).last_grad);
}

fn summands(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Summands {
    return Summands(corrected(c, g, s));
}

fn with_sums(c: Coeffs, sums: Sums) -> Coeffs {
    var own = c;
    // Written so that a NaN reaches the whole tensor.
    own.scale = select(1.0 / sums.corrected, 1.0, sums.corrected <= 1.0);
    return own;
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let x = c.scale * corrected(c, g, s);
    (*s).last_grad = g;
    (*s).exp_avg = c.beta1 * (*s).exp_avg + c.one_minus_beta1 * x;
    (*s).exp_avg_sq = c.beta2 * (*s).exp_avg_sq + c.one_minus_beta2 * x * x;
    let denominator = sqrt((*s).exp_avg_sq) * c.inv_sqrt_bias2 + c.eps;
    return p - c.step_size * ((*s).exp_avg / denominator);
}
