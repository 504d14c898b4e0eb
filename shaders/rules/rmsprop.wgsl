// RMSprop.

struct Coeffs {
    step_size: f32, // lr, or 1 if the buffer has it
    gain: f32,      // 1, or then lr
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
    momentum: f32,
}

struct State {
    square_avg: Real,
    grad_avg: Real,        // with centered
    momentum_buffer: Real, // with has_momentum
}

override centered: bool;
override has_momentum: bool;
override eps_in_sqrt: bool;

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    (*s).square_avg = c.alpha * (*s).square_avg + c.one_minus_alpha * g * g;
    var radicand = (*s).square_avg;
    if centered {
        (*s).grad_avg = c.alpha * (*s).grad_avg + c.one_minus_alpha * g;
        radicand = (*s).square_avg - (*s).grad_avg * (*s).grad_avg;
    }
    var root = sqrt(radicand) + c.eps;
    if eps_in_sqrt {
        root = sqrt(radicand + c.eps);
    }
    var direction = g / root;
    if has_momentum {
        (*s).momentum_buffer = c.momentum * (*s).momentum_buffer + c.gain * direction;
        direction = (*s).momentum_buffer;
    }
    return p - c.step_size * direction;
}
