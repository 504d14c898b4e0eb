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

// The sign, and NaN of a NaN, of which WGSL's `sign` may make anything.
fn sign_of(x: Real) -> Real {
    let magnitude = bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu);
    return select(sign(x), x, magnitude > vec4<u32>(0x7f800000u));
}

fn update(c: Coeffs, p: Real, g: Real, s: ptr<function, State>) -> Real {
    let ascent = sign_of(g);
    let turn = ascent * sign_of((*s).prev);
    let turned = turn < Real(0.0);
    let grown = select(Real(1.0), Real(c.eta_plus), turn > Real(0.0));
    let factor = select(grown, Real(c.eta_minus), turned);
    (*s).step_size = min(max((*s).step_size * factor, Real(c.step_min)), Real(c.step_max));
    (*s).prev = select(g, Real(0.0), turned);
    return p - select(ascent, Real(0.0), turned) * (*s).step_size;
}
