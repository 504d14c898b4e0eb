//! What the host asks of one step where the device decides on it: which step counts changed, which
//! coefficients to compute, and by which programs. `shaders/passes/decide.wgsl` reads it.

use crate::control::scaler::GradScaler;
use crate::control::settings::Control;
use crate::error::Error;
use crate::layout::pages::Target;
use crate::layout::words::{Words, words};
use crate::model::{Count, Model, Origin};
use crate::rule::{MAX_SCALARS, Program};

words! {
    /// The head of a request; all else are words after it, counted from their first.
    pub(crate) struct RequestHeader {
        /// The step's number, from 1.
        number: u32,
        /// Changes of step counts that may not have arrived yet, from the first word on.
        changes: u32,
        /// Coefficients to compute, from `first_target` on.
        targets: u32,
        first_target: u32,
        /// The program of the decision.
        decision: u32,
        /// Whether non-finite gradients skip the step.
        skips: u32,
        /// Whether there is a loss scale that moves.
        scales: u32,
        growth_interval: u32,
        /// The largest magnitude that an element of a gradient keeps.
        limit: f32,
    }
}

/// Words of a change in the list that a request starts with: the number of the step that it came
/// with, the word of its first move, and its number of moves.
const CHANGE_WORDS: usize = 3;

/// Words of a target: its step count, the word of its coefficients, its program, and one unused.
const TARGET_WORDS: usize = 4;

/// Words of a move: the count's index, that of the count whose value it takes, and the value if
/// that is none, as it is on the device.
const MOVE_WORDS: usize = 2 + COUNT_BYTES as usize / 4;

/// Where there is no other count.
const NONE: u32 = u32::MAX;

/// Bytes before the first step count on the device: the number of the latest step, and one unused
/// word.
pub(crate) const COUNTS_HEADER_BYTES: u64 = 8;

/// Bytes of a step count on the device: the count, one unused word, and the scalars.
pub(crate) const COUNT_BYTES: u64 = 8 + 8 * MAX_SCALARS as u64;

/// The step counts on the device.
pub(crate) const COUNTS_WGSL: &str = "\
struct Count {
    steps: u32,
    scalars: array<Wide, MAX_SCALARS>,
}

struct Counts {
    // The number of the latest step that ran; 0 if none did, and the counts are not there yet.
    latest: u32,
    counts: array<Count>,
}
";

/// Step counts that changed between two steps, and the number of the later one. They are told again
/// in each step until one is known to have run, since commands may be dropped.
#[derive(Debug, Clone)]
struct Change {
    number: u64,
    moves: u32,
    words: Vec<u32>,
}

/// The request of a step, and what writing it takes: memory that the next one uses again.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub words: Vec<u32>,
    head: Vec<u32>,
    program: Program,
    /// Of each group where its program starts, if it is written already.
    starts: Vec<Option<u32>>,
    /// In order; changes that no step is known to have applied.
    changes: Vec<Change>,
}

impl Request {
    /// Writes the request of the next step, before the counts advance. `arrived` is the number of
    /// the latest step that is known to have run.
    ///
    /// # Errors
    /// A rule's program is too long.
    pub fn write(
        &mut self,
        control: &Control,
        model: &Model,
        targets: &[Target],
        arrived: u64,
    ) -> Result<(), Error> {
        let number = model.recorded() + 1;
        self.changes.retain(|change| arrived < change.number && change.number < number);
        self.changes.extend(change(model, number));
        self.words.clear();
        self.words.resize(RequestHeader::LEN, 0);
        self.write_changes();
        let first_target = self.place();
        let words = self.words.len() + TARGET_WORDS * targets.len();
        self.words.resize(words, 0);
        self.starts.clear();
        self.starts.resize(model.groups.len(), None);
        for (index, target) in targets.iter().enumerate() {
            let program = self.program_of(model, model.counts[target.count].group)?;
            let at = RequestHeader::LEN + first_target as usize + TARGET_WORDS * index;
            self.words[at..at + 3].copy_from_slice(&[target.count as u32, target.word, program]);
        }
        control.record(&mut self.program)?;
        let decision = self.write_program();
        let header = RequestHeader {
            number: number as u32,
            changes: self.changes.len() as u32,
            targets: targets.len() as u32,
            first_target,
            decision,
            skips: control.skips().into(),
            scales: control.scaler.is_some().into(),
            growth_interval: control
                .scaler
                .map_or(0, |GradScaler { growth_interval, .. }| growth_interval),
            limit: control.limit() as f32,
        };
        self.head.clear();
        header.write(&mut self.head);
        self.words[..RequestHeader::LEN].copy_from_slice(&self.head);
        Ok(())
    }

    /// The place of the next word, counted from the header's end.
    fn place(&self) -> u32 {
        (self.words.len() - RequestHeader::LEN) as u32
    }

    /// Appends the list of changes, then their moves.
    fn write_changes(&mut self) {
        let mut first_move = CHANGE_WORDS * self.changes.len();
        for Change { number, moves, words } in &self.changes {
            self.words.extend([*number as u32, first_move as u32, *moves]);
            first_move += words.len();
        }
        self.words.extend(self.changes.iter().flat_map(|change| &change.words));
    }

    /// Where a group's program starts; it is appended if it is not there yet.
    fn program_of(&mut self, model: &Model, group: usize) -> Result<u32, Error> {
        if let Some(start) = self.starts[group] {
            return Ok(start);
        }
        model.groups[group].rule.record(&mut self.program)?;
        let start = self.write_program();
        self.starts[group] = Some(start);
        Ok(start)
    }

    /// Appends the program; where it starts.
    fn write_program(&mut self) -> u32 {
        let start = self.place();
        let Self { words, program, .. } = self;
        words.extend([
            program.constants.len() as u32,
            program.instructions.len() as u32,
            program.outputs.len() as u32,
            program.scalars.len() as u32,
        ]);
        words.extend(program.constants.iter().map(|&x| (x as f32).to_bits()));
        words.extend(program.instructions.iter().flatten());
        words.extend(program.outputs.iter().flatten());
        words.extend(&program.scalars);
        start
    }
}

/// Changes that are in requests of recorded steps, of which the device may have run none: their
/// commands may have been dropped.
#[derive(Debug)]
pub(crate) struct Pending(Vec<Change>);

impl Request {
    /// The changes that the device may not have yet.
    pub fn pending(&self) -> Pending {
        Pending(self.changes.clone())
    }
}

impl Pending {
    /// The step counts that the device goes on from, by what was read of the buffers that have or
    /// had them, oldest first. In a buffer that no step has reached its header is 0.
    pub fn applied(&self, buffers: &[Vec<u32>]) -> Vec<u32> {
        let newest = buffers.iter().rfind(|words| words.first().is_some_and(|&latest| latest > 0));
        let mut counts = newest.cloned().unwrap_or_default();
        let latest = counts.first().copied().unwrap_or(0);
        for change in self.0.iter().filter(|change| change.number as u32 > latest) {
            for words in change.words.chunks_exact(MOVE_WORDS) {
                let to = count_word(words[0] as usize);
                let mut count = words[2..].to_vec();
                if words[1] != NONE {
                    let from = count_word(words[1] as usize);
                    count.fill(0);
                    let known = counts.get(from..).unwrap_or(&[]);
                    count.iter_mut().zip(known).for_each(|(word, &known)| *word = known);
                }
                counts.resize(counts.len().max(to + count.len()), 0);
                counts[to..to + count.len()].copy_from_slice(&count);
            }
        }
        counts
    }
}

/// The word of a step count, in what is read of them.
pub(crate) fn count_word(count: usize) -> usize {
    (COUNTS_HEADER_BYTES / 4) as usize + (COUNT_BYTES / 4) as usize * count
}

/// A step count's scalar, in what is read of them.
pub(crate) fn scalar_of(counts: &[u32], count: usize, scalar: usize) -> f64 {
    let word = count_word(count) + 2 + 2 * scalar;
    let [low, high] = [0, 1].map(|k| u64::from(counts.get(word + k).copied().unwrap_or(0)));
    f64::from_bits(low | high << 32)
}

/// The step counts that the device does not have yet, if there are any.
fn change(model: &Model, number: u64) -> Option<Change> {
    let mut change = Change { number, moves: 0, words: Vec::new() };
    for (count, index) in model.counts.iter().zip(0..) {
        let Count { origin, steps, scalars, members, .. } = count;
        let origin = match origin {
            _ if *members == 0 => continue,
            Origin::Itself => continue,
            Origin::Other(count) => *count as u32,
            Origin::Host => NONE,
        };
        change.moves += 1;
        change.words.extend([index, origin, *steps as u32, 0]);
        let padded = scalars.iter().copied().chain(std::iter::repeat(0.0)).take(MAX_SCALARS);
        change.words.extend(padded.flat_map(words_of));
    }
    (change.moves > 0).then_some(change)
}

/// An f64's low and high word.
fn words_of(x: f64) -> [u32; 2] {
    let bits = x.to_bits();
    [bits as u32, (bits >> 32) as u32]
}
