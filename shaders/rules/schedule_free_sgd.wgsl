// Schedule-Free SGD. The parameter is y, where gradients are taken.

struct Coeffs {
    first: f32,  // 1 at the first step, where z is the parameter, otherwise 0
    share: f32,  // the step's share of the average
    z_step: f32, // lr, in the warm-up less
    y_step: f32, // (1 - momentum (1 - share)) z_step
}

struct State {
    z: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let z = select((*s).z, p, c.first > 0.0);
    (*s).z = z - c.z_step * g;
    return p + (c.share * (z - p) - c.y_step * g);
}
