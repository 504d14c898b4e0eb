//! The tester is tested: what is wrong must be found to be wrong.

use crate::common::cases::cases;
use crate::common::exact::{AROUND, Arrays, check_step, f32_step, largest_errors, ulp};
use crate::common::random::Random;
use wgpu_optim::{Adam, AdamW, DynRule, LAMB};

const LEN: usize = 512;

/// A true step of a rule in f32: before, gradient, after.
fn true_step(rule: &dyn DynRule, change: impl Fn(&mut [f64])) -> (Arrays, Vec<f32>, Arrays) {
    let mut random = Random::new(11);
    let mut before = Arrays(vec![random.wide_vec(LEN, -3.0, 3.0)]);
    for _ in rule.states() {
        let state = random.wide_vec(LEN, -3.0, 3.0).into_iter().map(f32::abs).collect();
        before.0.push(state);
    }
    let grad = random.wide_vec(LEN, -3.0, 3.0);
    let mut after = before.clone();
    f32_step(rule, 2, &grad, &mut after, change);
    (before, grad, after)
}

#[test]
fn a_true_step_passes() {
    for rule in cases() {
        let (before, grad, after) = true_step(rule.as_ref(), |_| {});
        check_step(rule.as_ref(), 2, &before, &grad, &after).expect("a true step");
    }
}

/// The errors that `docs/bounds.md` tells: a change of 1000 ulps in one element is found as such.
#[test]
fn the_largest_errors_are_found() {
    let rule = Adam::default();
    for array in 0..2 {
        let (before, grad, mut after) = true_step(&rule, |_| {});
        let plain = largest_errors(&rule, 2, &before, &grad, &after);
        assert!(plain.iter().all(|&errors| errors > 0.0 && errors < 50.0), "{plain:?}");
        let scale = after.0[array][7].abs().max(before.0[array][7].abs());
        after.0[array][7] += 1000.0 * ulp(f64::from(scale)) as f32;
        let found = largest_errors(&rule, 2, &before, &grad, &after);
        assert!((found[array] - 1000.0).abs() < 50.0, "{found:?}");
        assert_eq!(found[1 - array], plain[1 - array]);
    }
}

#[test]
fn every_perturbed_coefficient_is_found() {
    let rule = Adam { weight_decay: 0.1, eps: 1e-3, amsgrad: true, ..Default::default() };
    for (k, name) in rule.coeff_names().iter().enumerate() {
        is_found(&rule, name, |coeffs| coeffs[AROUND + k] *= 1.001);
    }
    // What happens around every rule: 0 where it is not asked for, and then it must do nothing.
    is_found(&rule, "maximize", |coeffs| coeffs[0] = 1.0);
    is_found(&rule, "weight decay", |coeffs| coeffs[1] *= 1.001);
    is_found(&rule, "decoupled weight decay", |coeffs| coeffs[2] = 1e-3);
    let decoupled = AdamW { weight_decay: 0.1, ..Default::default() };
    is_found(&decoupled, "weight decay", |coeffs| coeffs[1] = 1e-3);
    is_found(&decoupled, "decoupled weight decay", |coeffs| coeffs[2] *= 1.1);
}

/// A step with changed coefficients is not taken for the rule's.
fn is_found(rule: &dyn DynRule, name: &str, change: impl Fn(&mut [f64])) {
    let (before, grad, after) = true_step(rule, change);
    let judged = check_step(rule, 2, &before, &grad, &after);
    assert!(judged.is_err(), "{name} off by a thousandth was not found");
}

#[test]
fn a_wrong_norm_is_found() {
    let rule = LAMB::default();
    let (before, grad, after) = true_step(&rule, |_| {});
    check_step(&rule, 2, &before, &grad, &after).expect("a true step");
    // One large element more makes the tensor's norm another.
    let (mut longer, mut grad, mut after) = (before, grad, after);
    longer.0.iter_mut().for_each(|array| array.push(1e4));
    grad.push(1.0);
    after.0.iter_mut().for_each(|array| array.push(1e4));
    let found = check_step(&rule, 2, &longer, &grad, &after).expect_err("a wrong norm");
    assert!(found.element < LEN, "an element whose norm is another tensor's");
}

#[test]
fn swapped_states_are_found() {
    let rule = Adam::default();
    let (before, grad, mut after) = true_step(&rule, |_| {});
    after.0.swap(1, 2);
    assert!(check_step(&rule, 2, &before, &grad, &after).is_err());
}

#[test]
fn another_steps_coefficients_are_found() {
    let rule = Adam::default();
    let (before, grad, after) = true_step(&rule, |_| {});
    assert!(check_step(&rule, 3, &before, &grad, &after).is_err());
}

#[test]
fn one_wrong_element_among_many_is_found() {
    let rule = Adam::default();
    let (before, grad, after) = true_step(&rule, |_| {});
    for element in [0, LEN / 2, LEN - 1] {
        for array in 0..after.0.len() {
            let mut after = after.clone();
            after.0[array][element] += 1e-3 * after.0[array][element].abs().max(1e-3);
            let found = check_step(&rule, 2, &before, &grad, &after).expect_err("a wrong element");
            assert_eq!((found.array, found.element), (array, element));
        }
    }
}

#[test]
fn nan_or_infinity_on_one_side_is_found() {
    let rule = Adam::default();
    let (before, grad, after) = true_step(&rule, |_| {});
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut after = after.clone();
        after.0[0][5] = wrong;
        assert!(check_step(&rule, 2, &before, &grad, &after).is_err(), "{wrong}");
    }
    let (mut before, grad, after) = true_step(&rule, |_| {});
    before.0[0][5] = f32::NAN;
    assert!(check_step(&rule, 2, &before, &grad, &after).is_err(), "NaN expected");
}

#[test]
fn a_wrong_value_is_found_where_zero_is_expected() {
    let rule = Adam::default();
    let zeros = Arrays(vec![vec![0.0; 4]; 3]);
    let grad = vec![0.0; 4];
    check_step(&rule, 1, &zeros, &grad, &zeros.clone()).expect("nothing happens");
    for array in 0..3 {
        let mut after = zeros.clone();
        after.0[array][2] = 1e-30;
        assert!(check_step(&rule, 1, &zeros, &grad, &after).is_err(), "array {array}");
    }
}

#[test]
#[should_panic(expected = "would prove nothing")]
fn a_result_compared_to_itself_is_refused() {
    let arrays = Arrays(vec![vec![0.0; 4]; 3]);
    let _ = check_step(&Adam::default(), 1, &arrays, &[0.0; 4], &arrays);
}

#[test]
#[should_panic(expected = "another length")]
fn a_result_of_another_length_is_refused() {
    let rule = Adam::default();
    let (before, grad, mut after) = true_step(&rule, |_| {});
    after.0[2].pop();
    let _ = check_step(&rule, 2, &before, &grad, &after);
}

#[test]
fn an_ulp_is_the_distance_to_the_next_number() {
    for x in [1.0f32, 1.5, 0.1, 3e38, 1e-30, f32::MIN_POSITIVE] {
        let next = f32::from_bits(x.to_bits() + 1);
        assert_eq!(ulp(x.into()), f64::from(next) - f64::from(x), "{x}");
    }
    assert_eq!(ulp(0.0), f64::from(f32::from_bits(1)));
}
