// LARS. The driver has added the weight decay to g.

struct Coeffs {
    lr: f32, // times the tensor's trust ratio
    trust_coefficient: f32,
    momentum: f32,
}

struct State {
    momentum_buffer: Real,
}

fn direction(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    return g;
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).momentum_buffer = c.momentum * (*s).momentum_buffer - c.lr * g;
    return p + (*s).momentum_buffer;
}
