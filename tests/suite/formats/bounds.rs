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
        let scales = scales(codecs[state], &expected.states[state]);
        check_state(&format!("{label} state {state}"), codecs[state], &arrays, &scales);
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

/// Elements of a block, which have a scale if they are of 8 bits.
const BLOCK: usize = 256;

/// `arrays` are the state before, the GPU's and the CPU's; `scales` are the blocks' of the CPU's.
fn check_state(
    label: &str,
    codec: Codec,
    [before, found, expected]: &[Vec<f32>; 3],
    scales: &[f32],
) {
    let code = Code::of(codec);
    for (block, expected) in expected.chunks(BLOCK).enumerate() {
        let start = BLOCK * block;
        // Of terms that cancel, what they were rounded by is left.
        let terms = expected.iter().chain(&before[start..start + expected.len()]);
        let terms = terms.filter(|x| x.is_finite());
        let largest = terms.fold(0.0f32, |m, x| m.max(x.abs()));
        for (i, &expected) in expected.iter().enumerate() {
            let found = found[start + i];
            let rounding = match &code {
                Some(code) => code.gap(expected / scales[block]) * scales[block],
                None => share(codec) * expected.abs(),
            };
            let bound = 1e-5 * expected.abs() + rounding + 2e-6 * largest + least(codec);
            let error = (found - expected).abs();
            // Squares may be beyond f16.
            let is_right = found == expected || error <= bound;
            assert!(is_right, "{label}[{}]: {found:e}, {expected:e}", start + i);
        }
    }
}

/// What an error may be however small the element is: the distance of f16's smallest numbers.
fn least(codec: Codec) -> f32 {
    if codec == Codec::F16 { 2f32.powi(-24) } else { 1e-12 }
}

/// How much of an element of more than 8 bits may be lost when it is rounded to the other
/// neighbour.
fn share(codec: Codec) -> f32 {
    match codec {
        Codec::F16 => 1.1e-3,
        Codec::Bf16 => 8e-3,
        _ => 0.0,
    }
}

/// The scales of a state's blocks, if they have any.
fn scales(codec: Codec, bytes: &[u8]) -> Vec<f32> {
    let scale = |block: &[u8]| f32::from_le_bytes(block[..4].try_into().expect("a scale"));
    let blocks = codec.in_blocks().then(|| bytes.chunks(codec.bytes(1) as usize));
    blocks.into_iter().flatten().map(scale).collect()
}

/// All values of a code of 8 bits where the scale is 1, in ascending order.
struct Code(Vec<f32>);

impl Code {
    fn of(codec: Codec) -> Option<Self> {
        if !codec.in_blocks() {
            return None;
        }
        let codes: Vec<u8> = 1f32.to_le_bytes().into_iter().chain(0..=u8::MAX).collect();
        let mut values = Vec::new();
        codec.decode(&codes, BLOCK, &mut values);
        values.sort_by(f32::total_cmp);
        Some(Self(values))
    }

    /// How far the farther neighbour of a value is.
    fn gap(&self, value: f32) -> f32 {
        // A quotient of a value and its scale is not exact.
        let slack = 1e-6 * value.abs();
        let below = self.0.iter().rev().find(|&&code| code < value - slack);
        let above = self.0.iter().find(|&&code| code > value + slack);
        let gaps = below.into_iter().chain(above).map(|code| (code - value).abs());
        gaps.fold(0.0, f32::max)
    }
}
