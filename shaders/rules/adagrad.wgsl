// AdaGrad.

struct Coeffs {
    step_size: f32, // lr / (1 + (t - 1) lr_decay)
    eps: f32,
}

struct State {
    sum: Real,
}

override eps_in_sqrt: bool;

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).sum = (*s).sum + g * g;
    var root = sqrt((*s).sum) + c.eps;
    if eps_in_sqrt {
        root = sqrt((*s).sum + c.eps);
    }
    return p - c.step_size * (g / root);
}
