// A rule whose learning rate each tensor scales by its trust ratio. `tensors` gives each block's place
// among the partial norms, and its tensor's index; `norms` each tensor's norms.

fn trust_ratio(norms: Norms, coefficient: f32) -> f32 {
    let param = length_of(norms.param);
    let direction = length_of(norms.direction);
    return select(coefficient * (param / direction), 1.0, param == 0.0 || direction == 0.0);
}

fn coeffs_of(rule: Coeffs, block: u32) -> Coeffs {
    var coeffs = rule;
    coeffs.lr *= trust_ratio(norms[tensors[block].y], rule.trust_coefficient);
    return coeffs;
}
