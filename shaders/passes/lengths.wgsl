// The root of a sum of squares in three scales, see `squares.wgsl`: the roots of its parts, joined
// as the sides of right angles. Their scales are undone before they meet, since a compiler may
// merge the two factors of a square into one that vanishes.

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
