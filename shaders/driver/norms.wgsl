// Sums of squares that neither overflow nor vanish: small, middling and large numbers are summed apart,
// the small and the large scaled by powers of two (Blue 1978). The fourth component is not used.

// Of a tensor's elements, or some of them, and of their directions.
struct Norms {
    param: vec4<f32>,
    direction: vec4<f32>,
}

fn plus(a: Norms, b: Norms) -> Norms {
    return Norms(a.param + b.param, a.direction + b.direction);
}

fn squares(x: Real) -> vec4<f32> {
    let is_small = abs(x) < Real(0x1p-40f);
    let is_large = abs(x) > Real(0x1p40f);
    let small = select(Real(0.0), x * 0x1p80f, is_small);
    let middling = select(x, Real(0.0), is_small | is_large);
    let large = select(Real(0.0), x * 0x1p-80f, is_large);
    return vec4<f32>(dot(small, small), dot(middling, middling), dot(large, large), 0.0);
}

// The root of such a sum: the roots of its parts, joined as the sides of right angles. Their scales are
// undone before they meet, since a compiler may merge the two factors of a square into one that vanishes.
fn length_of(sums: vec4<f32>) -> f32 {
    let small = sqrt(sums.x) * 0x1p-80f;
    let middling = sqrt(sums.y);
    if sums.z > 0.0 {
        return hypotenuse(sqrt(sums.z) * 0x1p80f, middling);
    }
    if sums.y == 0.0 {
        return small;
    }
    return hypotenuse(middling, small);
}

fn hypotenuse(longer: f32, shorter: f32) -> f32 {
    let ratio = shorter / longer;
    return longer * sqrt(1.0 + ratio * ratio);
}
