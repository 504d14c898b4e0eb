//! How far the GPU's step may be from the CPU's, in every storage.

use wgpu_optim::internals::{Codec, Formats, Keeping};
use wgpu_optim::{CpuOptimizer, Real};

/// A parameter's elements, and its states as they are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub param: Vec<f32>,
    pub states: Vec<Vec<u8>>,
}

impl Stored {
    /// What the CPU has of a parameter.
    pub fn of<T: Real>(cpu: &CpuOptimizer<T>, name: &str, states: &[&str]) -> Self {
        let param = cpu.param(name).expect("known").iter().map(|x| x.to_f64() as f32).collect();
        let state = |state: &&str| cpu.state_bytes(name, state).expect("known");
        Self { param, states: states.iter().map(state).collect() }
    }
}

/// Panics if the GPU's arrays are not the CPU's within a rounding, after a step of both from the
/// same arrays; `before` is what they had before it.
pub fn check(label: &str, formats: &Formats, before: &Stored, found: &Stored, expected: &Stored) {
    check_signed(label, formats, before, [found, expected], 0.0);
}

/// The same for a rule that steps by a sign: where the terms of a sum cancel to within a rounding,
/// its sign may be either. One element of a tensor may be so far off, no more: a wrong sign is
/// wrong in many.
pub fn check_signed(
    label: &str,
    formats: &Formats,
    before: &Stored,
    [found, expected]: [&Stored; 2],
    opposite: f64,
) {
    let codecs = formats.states.as_slice();
    let decoded = |stored: &Stored, state: usize| {
        let mut values = Vec::new();
        codecs[state].decode(&stored.states[state], before.param.len(), &mut values);
        values
    };
    let kept = formats.kept().map(|kept| [decoded(found, kept), decoded(expected, kept)]);
    let mut opposites = 0;
    for k in 0..before.param.len() {
        let exact = |param: f32, side: usize| {
            let joined = kept.as_ref().map_or(param, |kept| formats.join(param, kept[side][k]));
            f64::from(joined)
        };
        let (found, expected) = (exact(found.param[k], 0), exact(expected.param[k], 1));
        let moved = (expected - f64::from(before.param[k])).abs();
        let bound = param_ulp(formats) * expected.abs() + 2e-5 * moved + 1e-7;
        let error = (found - expected).abs();
        let is_opposite = error > bound && (error - opposite).abs() <= bound;
        opposites += usize::from(is_opposite);
        assert!(error <= bound || is_opposite, "{label}[{k}]: {found:e}, {expected:e}");
    }
    assert!(opposites <= 1, "{label}: {opposites} elements went the opposite way");
    let own = (0..codecs.len()).filter(|&state| Some(state) != formats.kept());
    for state in own {
        let arrays = [before, found, expected].map(|stored| decoded(stored, state));
        check_state(&format!("{label} state {state}"), codecs[state], &arrays);
    }
}

/// How much of a parameter its error may be: a rounding to 16 bits may go to the other neighbour.
fn param_ulp(formats: &Formats) -> f64 {
    match (formats.kept(), formats.param) {
        (Some(_), Codec::F16) => 2.0f64.powi(-20),
        (Some(_), _) if formats.keeping == Keeping::Loss => 2.0f64.powi(-16),
        (None, Codec::F16) => 2.0f64.powi(-10),
        (None, Codec::Bf16) => 2.0f64.powi(-7),
        _ => 1e-6,
    }
}

/// `arrays` are the state before, the GPU's and the CPU's.
fn check_state(label: &str, codec: Codec, [before, found, expected]: &[Vec<f32>; 3]) {
    for (block, expected) in expected.chunks(256).enumerate() {
        let blocks = 256 * block..256 * block + expected.len();
        // Of terms that cancel, what they were rounded by is left.
        let terms = expected.iter().chain(&before[blocks]);
        let largest = terms.fold(0.0f32, |m, x| m.max(x.abs()));
        for (i, &expected) in expected.iter().enumerate() {
            let found = found[256 * block + i];
            let share = share(codec, expected.abs() / largest);
            let bound = share * expected.abs() + 2e-6 * largest + least(codec);
            let error = (found - expected).abs();
            assert!(error <= bound, "{label}[{}]: {found:e}, {expected:e}", 256 * block + i);
        }
    }
}

/// What an error may be however small the element is: the distance of f16's smallest numbers.
fn least(codec: Codec) -> f32 {
    if codec == Codec::F16 { 2f32.powi(-24) } else { 1e-12 }
}

/// How much of an element its error may be, where it is this part of its block's largest. In 8 bits
/// a rounding may go to the neighbour, which is as far as the two are wrong together: what
/// `Format::Block8` says, twice.
fn share(codec: Codec, part: f32) -> f32 {
    match codec {
        Codec::F32 | Codec::I16 => 1e-5,
        Codec::F16 => 1.1e-3,
        Codec::Bf16 => 8e-3,
        Codec::Block8 { .. } => match part {
            0.1.. => 0.15,
            0.01..0.1 => 0.22,
            1e-3..0.01 => 0.36,
            1e-4..1e-3 => 0.56,
            1e-5..1e-4 => 0.94,
            _ => 1.42,
        },
    }
}
