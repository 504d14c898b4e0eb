//! How far a GPU's step may be from the exact one.
//!
//! One step is judged at a time, from the state the GPU itself was in, so that nothing accumulates
//! unseen and every step's error is held to the same bound; by induction the bound holds for a run.
//! The exact step is the reference rule in f64 on the same f32 inputs and coefficients.
//!
//! For each output the bound is the sum of
//! - ulps of the output (of the larger of old and new, for a parameter): its own rounding;
//! - ulps of the update, for a parameter: WGSL promises 2.5 ulp for a division, 2 for a square root
//!   and lets multiplication and addition fuse or not, so the update carries a few;
//! - how far the exact output moves if an input moves by some ulps: where terms cancel, as in
//!   `β1·m + (1 − β1)·g` with opposite signs, the output is as uncertain as its terms are rounded.
//!   This is what error analysis calls a backward stable result: the exact one of almost the same
//!   inputs.
//!
//! Products below the smallest normal number may be flushed to zero, as SwiftShader does, so each
//! output may be off by that, and states as inputs, which are squares, move by that too.

use super::facts;
use wgpu_optim::internals::{Run, View};
use wgpu_optim::{DynRule, Real, SumKind};

/// A parameter's arrays: the parameter itself, then each state in use.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrays(pub Vec<Vec<f32>>);

/// How many ulps a rule's step may be off; see the module.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    pub output: f64,
    pub update: f64,
    pub input: f64,
}

/// Additions and multiplications, each rounded once.
pub const SUMS: Tolerance = Tolerance { output: 1.0, update: 2.0, input: 2.0 };

/// A division by a square root too: 2.5 and 2 ulp, and half an ulp for each product around them.
pub const QUOTIENT: Tolerance = Tolerance { output: 1.0, update: 6.0, input: 3.0 };

/// Quotients are summed up, in a momentum buffer or with one another: the sum takes over their
/// ulps, and may cancel.
pub const SUMMED_QUOTIENT: Tolerance = Tolerance { output: 6.0, update: 6.0, input: 6.0 };

/// Two roots, a division and products make 8 ulp, and the state takes the square of it: twice that.
pub const SQUARED_QUOTIENT: Tolerance = Tolerance { output: 16.0, update: 8.0, input: 3.0 };

/// The quotient is scaled by a quotient of norms, each a root of a sum that a tree of depth 6 in a
/// block and 10 for every 1024 blocks adds up: half an ulp a level, halved by the root, twice.
pub const TRUST_RATIO: Tolerance = Tolerance { output: 16.0, update: 20.0, input: 16.0 };

/// What gradients are multiplied by, and the largest magnitude that they keep, where nothing
/// surrounds a step.
pub const PLAIN: [f64; 2] = [1.0, f64::INFINITY];

/// The tolerance of a rule; one that is not the crate's has about one quotient.
fn tolerance(rule: &dyn DynRule) -> Tolerance {
    facts::of(rule.name()).map_or(QUOTIENT, |facts| facts.tolerance)
}

/// How many coefficients come before a rule's own: those of what happens around every rule.
pub const AROUND: usize = 4;

/// A rule's coefficients at a step, from its first step on.
pub fn coeffs_at(rule: &dyn DynRule, step: u64) -> Vec<f64> {
    let mut scalars: Vec<_> = rule.scalars().iter().map(|scalar| scalar.value).collect();
    (1..=step).for_each(|step| rule.advance(step, &mut scalars));
    let mut coeffs = Vec::new();
    rule.coeffs(step, &scalars, &mut coeffs);
    coeffs
}

/// One step of the reference in f32, in place, with its coefficients changed as wanted.
pub fn f32_step(
    rule: &dyn DynRule,
    step: u64,
    grads: &[f32],
    arrays: &mut Arrays,
    change: impl Fn(&mut [f64]),
) {
    let mut coeffs = coeffs_at(rule, step);
    change(&mut coeffs);
    let (params, states) = arrays.0.split_at_mut(1);
    apply_sums(rule, &mut coeffs, &params[0], grads, states);
    let mut states: Vec<&mut [f32]> = states.iter_mut().map(Vec::as_mut_slice).collect();
    let run = Run { params: &mut params[0], grads, states: &mut states };
    rule.update_run(&coeffs, PLAIN, f32::any_run(run));
}

/// Makes a tensor's own coefficients, where its rule has sums: added up in f64 over all its
/// elements.
fn apply_sums<T: Real>(
    rule: &dyn DynRule,
    coeffs: &mut [f64],
    params: &[T],
    grads: &[T],
    states: &[Vec<T>],
) {
    let kinds = rule.sums();
    if kinds.is_empty() {
        return;
    }
    let states: Vec<&[T]> = states.iter().map(Vec::as_slice).collect();
    let view = View { params, grads, states: &states };
    let found = rule.sum_run(coeffs, PLAIN, T::any_view(view));
    let sum = |(found, sum): (f64, &wgpu_optim::SumInit)| match sum.kind {
        SumKind::Total => found,
        SumKind::Norm => found.sqrt(),
        other => panic!("how does {other:?} add up?"),
    };
    let sums: Vec<_> = found.into_iter().zip(&kinds).map(sum).collect();
    rule.with_sums(coeffs, &sums);
}

/// One ulp of an f32 of this magnitude.
pub fn ulp(x: f64) -> f64 {
    let exponent = x.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
    2f64.powf(exponent - 23.0)
}

/// The first element that is off.
#[derive(Debug)]
#[expect(dead_code, reason = "for the message")]
pub struct Mismatch {
    pub array: usize,
    pub element: usize,
    pub found: f64,
    pub expected: f64,
    pub allowed: f64,
    /// The error in parts of what is allowed.
    pub ratio: f64,
    /// Parameter before, gradient, states before.
    pub inputs: Vec<f32>,
}

/// Judges one step of a rule: `after` must follow from `before` and `grad` by step number `step`.
/// Returns the largest error in parts of what is allowed.
pub fn check_step(
    rule: &dyn DynRule,
    step: u64,
    before: &Arrays,
    grad: &[f32],
    after: &Arrays,
) -> Result<f64, Box<Mismatch>> {
    assert!(
        !std::ptr::eq(before, after),
        "comparing a result to its own input would prove nothing"
    );
    let exact = Exact::new(rule, step, before, grad);
    let expected = exact.step(|_, x| x);
    let allowed = exact.allowed(&expected, tolerance(rule));
    let mut worst = 0f64;
    for (array, found) in after.0.iter().enumerate() {
        assert_eq!(found.len(), grad.len(), "array {array} has another length");
        for (element, &found) in found.iter().enumerate() {
            let (found, expected) = (f64::from(found), expected[array][element]);
            let allowed = allowed[array][element];
            let ratio = ratio(found, expected, allowed);
            if ratio > 1.0 || ratio.is_nan() {
                let states = before.0.iter().skip(1).map(|s| s[element]);
                let inputs =
                    [before.0[0][element], grad[element]].into_iter().chain(states).collect();
                return Err(Box::new(Mismatch {
                    array,
                    element,
                    found,
                    expected,
                    allowed,
                    ratio,
                    inputs,
                }));
            }
            worst = worst.max(ratio);
        }
    }
    assert_eq!(after.0.len(), expected.len(), "the number of arrays");
    Ok(worst)
}

/// The largest error of one step, of the parameter and of its states: in ulps of the larger of an
/// element's old and new value.
pub fn largest_errors(
    rule: &dyn DynRule,
    step: u64,
    before: &Arrays,
    grad: &[f32],
    after: &Arrays,
) -> [f64; 2] {
    let expected = Exact::new(rule, step, before, grad).step(|_, x| x);
    let mut worst = [0f64; 2];
    for (array, exact) in expected.iter().enumerate() {
        let worst = &mut worst[array.min(1)];
        let old = &before.0[array];
        for ((&found, &exact), &old) in after.0[array].iter().zip(exact).zip(old) {
            let scale = ulp(exact.abs().max(f64::from(old).abs()));
            *worst = worst.max((f64::from(found) - exact).abs() / scale);
        }
    }
    worst
}

/// The error in parts of what is allowed; NaN where one side alone is NaN.
fn ratio(found: f64, expected: f64, allowed: f64) -> f64 {
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return 0.0;
    }
    (found - expected).abs() / allowed
}

/// A rule's step in f64, from f32 inputs and coefficients.
struct Exact<'a> {
    rule: &'a dyn DynRule,
    coeffs: Vec<f64>,
    /// Gradient, parameter, states.
    inputs: Vec<Vec<f64>>,
}

impl<'a> Exact<'a> {
    fn new(rule: &'a dyn DynRule, step: u64, before: &Arrays, grad: &[f32]) -> Self {
        let mut coeffs: Vec<_> =
            coeffs_at(rule, step).into_iter().map(|c| f64::from(c as f32)).collect();
        let widen = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect();
        let mut inputs: Vec<Vec<f64>> = vec![widen(grad)];
        inputs.extend(before.0.iter().map(|array| widen(array)));
        apply_sums(rule, &mut coeffs, &inputs[1], &inputs[0], &inputs[2..]);
        Self { rule, coeffs, inputs }
    }

    /// The outputs, parameter first, with every input changed by `change(input, value)`.
    fn step(&self, change: impl Fn(usize, f64) -> f64) -> Vec<Vec<f64>> {
        let changed = |(k, values): (usize, &Vec<f64>)| -> Vec<f64> {
            values.iter().map(|&x| change(k, x)).collect()
        };
        let mut arrays: Vec<_> = self.inputs.iter().enumerate().map(changed).collect();
        let (grads, outputs) = arrays.split_at_mut(1);
        let (params, states) = outputs.split_at_mut(1);
        let mut states: Vec<&mut [f64]> = states.iter_mut().map(Vec::as_mut_slice).collect();
        let run = Run { params: &mut params[0], grads: &grads[0], states: &mut states };
        self.rule.update_run(&self.coeffs, PLAIN, f64::any_run(run));
        arrays.split_off(1)
    }

    /// How far each output may be from the expected one.
    fn allowed(&self, expected: &[Vec<f64>], tolerance: Tolerance) -> Vec<Vec<f64>> {
        let mut allowed: Vec<Vec<f64>> = expected.to_vec();
        for (k, (allowed, before)) in allowed.iter_mut().zip(&self.inputs[1..]).enumerate() {
            for (allowed, &old) in allowed.iter_mut().zip(before) {
                let new = *allowed;
                let rounding = if k == 0 {
                    let update = tolerance.update * ulp(new - old);
                    tolerance.output * ulp(old.abs().max(new.abs())) + update
                } else {
                    tolerance.output * ulp(new)
                };
                *allowed = rounding + f64::from(f32::MIN_POSITIVE);
            }
        }
        for input in 0..self.inputs.len() {
            let moved = |sign: f64| {
                self.step(|k, x| if k == input { x + sign * shift(k, x, tolerance) } else { x })
            };
            let (up, down) = (moved(1.0), moved(-1.0));
            for (k, allowed) in allowed.iter_mut().enumerate() {
                for (i, allowed) in allowed.iter_mut().enumerate() {
                    let distance = |moved: &[Vec<f64>]| (moved[k][i] - expected[k][i]).abs();
                    // A state moved out of its domain, such as a square below zero, tells nothing.
                    *allowed += distance(&up).max(distance(&down));
                }
            }
        }
        allowed
    }
}

/// How far a state is moved for what flushing to zero may take from a square v below the smallest
/// normal number, where a step keeps three quarters of the old state or more. A root of it is off
/// by √v then. Moving v down by so much moves it out of the root's domain, and moving it up must
/// change the root by as much: √(v + 3v) − √v.
const FLUSHED: f64 = 4.0 * f32::MIN_POSITIVE as f64;

/// How far an input is moved: some ulps, and for states also what flushing to zero may take.
fn shift(input: usize, x: f64, tolerance: Tolerance) -> f64 {
    let flush = if input >= 2 { FLUSHED } else { 0.0 };
    tolerance.input * (x.abs() * f64::from(f32::EPSILON)) + flush
}
