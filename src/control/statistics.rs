//! What can be read after a step: the device's report, decoded.

use crate::control::request::{count_word, scalar_of};
use crate::control::verdict::Scale;
use crate::layout::geometry::BLOCK;
use crate::layout::sums::root_of_squares;
use crate::layout::words::{Words, words};

words! {
    /// What the device reports of the latest step. The kernel handles numbers by their bits.
    pub(crate) struct Report {
        norm: f32 as u32,
        /// What clipping by the norm multiplied gradients by.
        clip: f32 as u32,
        /// The loss scale that gradients came with, and the next.
        scale: f32 as u32,
        next_scale: f32 as u32,
        growth_tracker: u32,
        /// Whether the step was skipped, and how many were.
        skip: u32,
        skipped: u32,
        /// How many of the latest steps, up to this one, were skipped one after another.
        skipped_in_row: u32,
        /// Steps decided on.
        steps: u32,
        /// Elements that are not finite, and the first one's block and lane.
        non_finite: u32,
        block: u32,
        lane: u32,
        /// What gradients were divided by: unscaled and averaged.
        divisor: f32 as u32,
    }
}

impl Report {
    /// A report before the first step, or the first after a run was resumed.
    pub fn before(scale: &Scale) -> Self {
        Self {
            clip: 1.0,
            scale: scale.scale,
            next_scale: scale.scale,
            divisor: scale.scale,
            growth_tracker: scale.growth_tracker,
            // The device counts in 32 bits.
            skipped: scale.skipped as u32,
            skipped_in_row: scale.skipped_in_row as u32,
            steps: scale.steps as u32,
            ..Self::default()
        }
    }

    /// The loss scale, and what goes with it.
    pub fn scale(&self) -> Scale {
        Scale {
            scale: self.next_scale,
            growth_tracker: self.growth_tracker,
            skipped: self.skipped.into(),
            skipped_in_row: self.skipped_in_row.into(),
            steps: self.steps.into(),
        }
    }
}

/// What is known of the latest step, and of all steps so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// The norm of all gradients, unscaled and averaged, before clipping: the root of the sum of
    /// squares, or the largest magnitude where that is clipped. Not finite if a gradient is not.
    pub grad_norm: f32,
    /// What clipping by the norm multiplied gradients by; 1 if it did not.
    pub clip: f32,
    /// The loss scale that the gradients came with; 1 without a scaler.
    pub loss_scale: f32,
    /// The loss scale for the next step.
    pub next_loss_scale: f32,
    /// Good steps since the loss scale last changed.
    pub growth_tracker: u32,
    /// Whether the step was skipped.
    pub is_skipped: bool,
    /// Steps skipped so far.
    pub skipped: u32,
    /// Steps skipped one after another, up to this one: 0 after a good step. A loss scale that is
    /// too large backs off within a few, from 2¹⁶ to 1 in 16. Where more are skipped in a row, or
    /// several at a constant scale, it is the parameters or the data that are not finite, and no
    /// later step will be better: stop, or go back to a checkpoint.
    pub skipped_in_row: u32,
    /// Steps so far, skipped ones too.
    pub steps: u32,
    /// How many elements of the gradients are infinite or NaN.
    pub non_finite: u32,
    /// The first of them, in the order of the parameters.
    pub first_non_finite: Option<NonFinite>,
    /// Every parameter, in the order they were added.
    pub parameters: Vec<ParameterStatistics>,
}

/// An element of a gradient that is infinite or NaN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonFinite {
    /// The parameter's name.
    pub parameter: String,
    /// The element's index within it.
    pub index: u64,
}

/// What is known of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterStatistics {
    /// Its name.
    pub name: String,
    /// The steps that it has taken; skipped ones do not count.
    pub steps: u32,
    /// Its norms, if statistics were asked for and it is not frozen.
    pub norms: Option<ParameterNorms>,
}

/// Norms of one parameter in the latest step: roots of sums of squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParameterNorms {
    /// Of the gradient's finite elements, unscaled and averaged, before clipping.
    pub grad: f32,
    /// Of the parameter after the step.
    pub param: f32,
    /// Of what the step changed it by, weight decay included.
    pub update: f32,
}

impl ParameterNorms {
    /// The update's norm by the parameter's: about 1e-3 where training goes well. Infinite or NaN
    /// where the parameter is 0.
    pub fn update_ratio(&self) -> f32 {
        self.update / self.param
    }
}

/// Where a step count is found.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StepSource {
    /// On the device, at this index.
    Device(usize),
    /// The host knows it.
    Host(u64),
}

impl StepSource {
    /// The count, by the device's.
    pub fn steps(self, counts: &[u32]) -> u64 {
        match self {
            Self::Device(index) => counts.get(count_word(index)).copied().unwrap_or(0).into(),
            Self::Host(steps) => steps,
        }
    }

    /// A scalar that goes with the count, by the device's; `None` if the host knows it.
    pub fn scalar(self, counts: &[u32], scalar: usize) -> Option<f64> {
        match self {
            Self::Device(index) => Some(scalar_of(counts, index, scalar)),
            Self::Host(_) => None,
        }
    }
}

/// Where a parameter's numbers are among what is read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub name: String,
    pub steps: StepSource,
    /// The index of its sums, if there are any.
    pub tensor: Option<usize>,
    /// The place of its first block among all that are measured, and their number.
    pub blocks: Option<(u64, u64)>,
}

/// Words of a tensor's measure and of its two sums of changes, each with three scales of squares at
/// the start of four words.
const ENTRY_WORDS: usize = 8;
const SQUARES_WORDS: usize = 4;

/// Decodes the report, the step counts, and the sums of each tensor's gradient and change, if any.
pub(crate) fn decode(
    report: &[u32],
    counts: &[u32],
    sums: Option<[&[u32]; 2]>,
    sources: &[Source],
) -> Statistics {
    let report = Report::read(report);
    let divisor = f64::from(report.divisor);
    let parameter = |source: &Source| ParameterStatistics {
        name: source.name.clone(),
        // No count is beyond `MAX_STEPS`.
        steps: source.steps.steps(counts) as u32,
        norms: source.tensor.zip(sums).map(|(tensor, [measures, changes])| ParameterNorms {
            grad: (length(measures, tensor, 0) / divisor) as f32,
            param: length(changes, tensor, 0) as f32,
            update: length(changes, tensor, SQUARES_WORDS) as f32,
        }),
    };
    let first_non_finite =
        (report.non_finite > 0).then(|| place(sources, report.block, report.lane));
    Statistics {
        grad_norm: report.norm,
        clip: report.clip,
        loss_scale: report.scale,
        next_loss_scale: report.next_scale,
        growth_tracker: report.growth_tracker,
        is_skipped: report.skip != 0,
        skipped: report.skipped,
        skipped_in_row: report.skipped_in_row,
        steps: report.steps,
        non_finite: report.non_finite,
        first_non_finite: first_non_finite.flatten(),
        parameters: sources.iter().map(parameter).collect(),
    }
}

/// The element in this lane of the block at this place.
fn place(sources: &[Source], block: u32, lane: u32) -> Option<NonFinite> {
    sources.iter().find_map(|source| {
        let (first, blocks) = source.blocks?;
        let block = u64::from(block).checked_sub(first).filter(|block| *block < blocks)?;
        let index = block * BLOCK + u64::from(lane);
        Some(NonFinite { parameter: source.name.clone(), index })
    })
}

/// The root of the sum of squares that starts at a word of an entry.
fn length(sums: &[u32], entry: usize, word: usize) -> f64 {
    let start = ENTRY_WORDS * entry + word;
    let part = |index: usize| {
        let bits = sums.get(start + index).copied().unwrap_or(0);
        f64::from(f32::from_bits(bits))
    };
    root_of_squares(part(0), part(1), part(2))
}
