// Stochastic gradient descent.

struct Coeffs {
    lr: f32,
    momentum: f32,
    gain: f32, // 1 at the first step, then 1 - dampening
}

struct State {
    momentum_buffer: Real, // with has_momentum
}

override has_momentum: bool;
override nesterov: bool;

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    var direction = g;
    if has_momentum {
        (*s).momentum_buffer = c.momentum * (*s).momentum_buffer + c.gain * g;
        direction = (*s).momentum_buffer;
        if nesterov {
            direction = g + c.momentum * direction;
        }
    }
    return p - c.lr * direction;
}
