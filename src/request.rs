//! What the host asks of one step where the GPU decides on it, in the words that
//! `shaders/driver/control.wgsl` reads.

use crate::control::{Control, NormType};
use crate::error::Error;
use crate::groups::{Clock, Groups, Origin};
use crate::program::MAX_SCALARS;

/// Words before those of clocks and entries: `Request` in `control.wgsl`.
pub(crate) const HEADER_WORDS: usize = 16;

/// Words of an entry of the header's list.
const ENTRY_WORDS: usize = 4;

/// Where there is no other clock.
const NONE: u32 = u32::MAX;

/// Bytes of a clock on the GPU.
pub(crate) const CLOCK_BYTES: u64 = 8 + 8 * MAX_SCALARS as u64;

/// Bytes of what the GPU reports, `Report` in `control.wgsl`.
pub(crate) const REPORT_BYTES: u64 = 48;

/// Coefficients to compute: a clock's, and the word of the coefficients' buffer where they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub clock: usize,
    pub word: u32,
}

/// Writes the request of the next step, before the clocks advance.
///
/// # Errors
/// A rule's program is too long.
pub(crate) fn write(
    out: &mut Vec<u32>,
    control: &Control,
    groups: &Groups,
    targets: &[Target],
) -> Result<(), Error> {
    out.clear();
    out.resize(HEADER_WORDS, 0);
    let moves = write_moves(out, groups);
    let first_entry = out.len() - HEADER_WORDS;
    out.resize(out.len() + ENTRY_WORDS * targets.len(), 0);
    let mut programs = vec![None; groups.groups.len()];
    for (target, index) in targets.iter().zip(0..) {
        let group = groups.clocks[target.clock].group;
        let program = match programs[group] {
            Some(program) => program,
            None => *programs[group].insert(write_program(out, control, groups, group)?),
        };
        let at = HEADER_WORDS + first_entry + ENTRY_WORDS * index;
        out[at..at + 3].copy_from_slice(&[target.clock as u32, target.word, program]);
    }
    let counts = [moves, targets.len() as u32, first_entry as u32];
    out[..HEADER_WORDS].copy_from_slice(&header(control, counts));
    Ok(())
}

/// `Request` in `control.wgsl`, up to its words.
fn header(control: &Control, [moves, entries, first_entry]: [u32; 3]) -> [u32; HEADER_WORDS] {
    let (clip, max_norm) = match control.clip_norm {
        None => (0, 0.0),
        Some((NormType::L2, max_norm)) => (1, max_norm),
        Some((NormType::Max, max_norm)) => (2, max_norm),
    };
    let scaler = control.scaler.unwrap_or_default();
    let [max_low, max_high] = words(max_norm);
    let [divisor_low, divisor_high] = words(control.divisor());
    let [growth_low, growth_high] = words(scaler.growth_factor);
    let [backoff_low, backoff_high] = words(scaler.backoff_factor);
    [
        moves,
        entries,
        first_entry,
        clip,
        max_low,
        max_high,
        divisor_low,
        divisor_high,
        growth_low,
        growth_high,
        backoff_low,
        backoff_high,
        scaler.min_scale.to_bits(),
        scaler.growth_interval,
        u32::from(control.scaler.is_some()),
        0,
    ]
}

/// Appends the clocks that the GPU does not have yet; how many they are.
fn write_moves(out: &mut Vec<u32>, groups: &Groups) -> u32 {
    let mut moves = 0;
    for (clock, index) in groups.clocks.iter().zip(0..) {
        let Clock { origin, steps, scalars, members, .. } = clock;
        let origin = match origin {
            _ if *members == 0 => continue,
            Origin::Itself => continue,
            Origin::Other(clock) => *clock as u32,
            Origin::Host => NONE,
        };
        moves += 1;
        out.extend([index, origin, *steps as u32, 0]);
        let padded = scalars.iter().copied().chain(std::iter::repeat(0.0)).take(MAX_SCALARS);
        out.extend(padded.flat_map(words));
    }
    moves
}

/// Appends a group's coefficients, those that depend on the step as a program; where they start.
fn write_program(
    out: &mut Vec<u32>,
    control: &Control,
    groups: &Groups,
    group: usize,
) -> Result<u32, Error> {
    let start = out.len() - HEADER_WORDS;
    let mut program = groups.groups[group].rule.program()?;
    control.shape(&mut program.constants, 1.0);
    out.extend([
        program.constants.len() as u32,
        program.instructions.len() as u32,
        program.outputs.len() as u32,
        program.scalars.len() as u32,
    ]);
    out.extend(program.constants.iter().map(|&x| (x as f32).to_bits()));
    out.extend(program.instructions.iter().flatten());
    out.extend(program.outputs.iter().flatten());
    out.extend(&program.scalars);
    Ok(start as u32)
}

/// An f64's low and high word.
fn words(x: f64) -> [u32; 2] {
    let bits = x.to_bits();
    [bits as u32, (bits >> 32) as u32]
}
