// Rprop.

struct Coeffs {
    eta_minus: f32,
    eta_plus: f32,
    step_min: f32,
    step_max: f32,
}

struct State {
    prev: Real,
    step_size: Real,
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let turn = sign(g) * sign((*s).prev);
    let turned = turn < Real(0.0);
    let grown = select(Real(1.0), Real(c.eta_plus), turn > Real(0.0));
    let factor = select(grown, Real(c.eta_minus), turned);
    (*s).step_size = min(max((*s).step_size * factor, Real(c.step_min)), Real(c.step_max));
    (*s).prev = select(g, Real(0.0), turned);
    return p - sign((*s).prev) * (*s).step_size;
}
