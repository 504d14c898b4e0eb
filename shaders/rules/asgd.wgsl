// ASGD.

struct Coeffs {
    eta: f32,   // the step's learning rate
    decay: f32, // lambd eta
    mu: f32,    // the step's share of the average
}

struct State {
    ax: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let moved = p - (c.decay * p + c.eta * g);
    // The average begins with the parameter itself.
    (*s).ax = select((*s).ax + c.mu * (moved - (*s).ax), moved, c.mu == 1.0);
    return moved;
}
