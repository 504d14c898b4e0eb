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

const MOST = 0x1.fffffep+127f;   // the largest f32
const RESOLUTION = 0x1.0p-23f;   // the distance from 1 to the next f32

override centered: bool;
override has_momentum: bool;
override eps_in_sqrt: bool;

// What the averages of `g` and of its square leave between them. The averages move by a part of
// their distance to the new value: with alpha and 1 - alpha, each rounded, they would settle off
// it.
fn variance(c: Coeffs, g: Real, square_avg: Real, s: ptr<function, State>) -> Real {
    let grad_avg = (*s).grad_avg;
    let stray = g - grad_avg;
    (*s).grad_avg = grad_avg + c.one_minus_alpha * stray;
    let moved = square_avg + c.one_minus_alpha * (g * g - square_avg);
    // An infinite average stays, as it does without `centered`.
    (*s).square_avg = select(square_avg, moved, square_avg <= Real(MOST));
    // Below the square's resolution nothing is known of the variance.
    let difference = square_avg - grad_avg * grad_avg;
    let least = RESOLUTION * square_avg;
    let known = select(least, difference, difference > least);
    return c.alpha * (known + c.one_minus_alpha * stray * stray);
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let square_avg = (*s).square_avg;
    (*s).square_avg = c.alpha * square_avg + c.one_minus_alpha * g * g;
    var radicand = (*s).square_avg;
    if centered {
        radicand = variance(c, g, square_avg, s);
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
