// The decades of the dynamic 8-bit codes.

// Where the decade of each number starts, how many magnitudes it has, and how many to a unit.
struct Decade {
    start: Real,
    steps: Real,
    factor: Real,
}

// The decade, or this one for numbers above its bound.
fn raised(d: Decade, y: Real, bound: f32, start: f32, steps: f32, factor: f32) -> Decade {
    let above = y > Real(bound);
    return Decade(
        select(d.start, Real(start), above),
        select(d.steps, Real(steps), above),
        select(d.factor, Real(factor), above),
    );
}

fn decade_end(decade: vec4<u32>) -> Real {
    var end = select(Real(1e-6), Real(1e-5), decade > vec4<u32>(0u));
    end = select(end, Real(1e-4), decade > vec4<u32>(1u));
    end = select(end, Real(1e-3), decade > vec4<u32>(2u));
    end = select(end, Real(1e-2), decade > vec4<u32>(3u));
    end = select(end, Real(1e-1), decade > vec4<u32>(4u));
    return select(end, Real(1.0), decade > vec4<u32>(5u));
}
