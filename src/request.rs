//! What the host asks of one step where the GPU decides on it, in the words that
//! `shaders/driver/control.wgsl` reads.

use crate::control::Control;
use crate::error::Error;
use crate::groups::{Clock, Groups, Origin};
use crate::program::{MAX_SCALARS, Program};

/// Words before those of clocks, entries and programs: `Request` in `control.wgsl`.
pub(crate) const HEADER_WORDS: usize = 6;

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

/// The request of a step, and what writing it takes: memory that the next one uses again.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub words: Vec<u32>,
    program: Program,
    /// Of each group where its program starts, if it is written already.
    starts: Vec<Option<u32>>,
}

impl Request {
    /// Writes the request of the next step, before the clocks advance.
    ///
    /// # Errors
    /// A rule's program is too long.
    pub fn write(
        &mut self,
        control: &Control,
        groups: &Groups,
        targets: &[Target],
    ) -> Result<(), Error> {
        let Self { words, program, starts } = self;
        words.clear();
        words.resize(HEADER_WORDS, 0);
        let moves = write_moves(words, groups);
        let first_entry = words.len() - HEADER_WORDS;
        words.resize(words.len() + ENTRY_WORDS * targets.len(), 0);
        starts.clear();
        starts.resize(groups.groups.len(), None);
        for (target, index) in targets.iter().zip(0..) {
            let group = groups.clocks[target.clock].group;
            let start = match starts[group] {
                Some(start) => start,
                None => {
                    groups.groups[group].rule.record(program)?;
                    control.shape(&mut program.constants, 1.0);
                    *starts[group].insert(write_program(words, program))
                }
            };
            let at = HEADER_WORDS + first_entry + ENTRY_WORDS * index;
            words[at..at + 3].copy_from_slice(&[target.clock as u32, target.word, start]);
        }
        control.record(program)?;
        let decision = write_program(words, program);
        words[..HEADER_WORDS].copy_from_slice(&[
            moves,
            targets.len() as u32,
            first_entry as u32,
            decision,
            u32::from(control.scaler.is_some()),
            control.scaler.unwrap_or_default().growth_interval,
        ]);
        Ok(())
    }
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

/// Appends a program; where it starts.
fn write_program(out: &mut Vec<u32>, program: &Program) -> u32 {
    let start = out.len() - HEADER_WORDS;
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
    start as u32
}

/// An f64's low and high word.
fn words(x: f64) -> [u32; 2] {
    let bits = x.to_bits();
    [bits as u32, (bits >> 32) as u32]
}
