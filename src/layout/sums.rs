//! Which partial sums add up to which.
//!
//! Each block has its partial sums. Workgroups add up rows of them, tensor by tensor, level by
//! level, until each tensor has one entry. Since blocks and rows belong to tensors, not to
//! dispatches, a tensor's sums have the same bits however it was cut into windows.

use crate::layout::geometry::{BLOCK, SHORT_SUM, SUM_LENGTH, WORKGROUP_SIZE};
use crate::layout::plan::{Dispatch, Piece};
use crate::rule::Number;
use std::collections::BTreeMap;

/// How the partial sums of some tensors are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reduction {
    /// The parameters that take part, in the caller's order, with the place of their first partial
    /// sum.
    starts: BTreeMap<usize, Start>,
    /// How many partial sums there are.
    pub partials: u64,
    /// In order. The last one's entries are the tensors'.
    pub levels: Vec<Level>,
}

/// One level of additions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Where each row starts among the entries of the level before, and its length. The n-th row
    /// makes the n-th entry.
    pub rows: Vec<[u32; 2]>,
    /// What each workgroup adds up: the first row and how many. Where there are several, they are
    /// short, and each thread takes one: most tensors of a model of many have few blocks.
    pub runs: Vec<[u32; 2]>,
}

/// Where a parameter's sums are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Start {
    /// Its number of blocks.
    blocks: u64,
    /// The place of its first block's partial sums.
    partial: u64,
    /// Its index among the tensors.
    tensor: u32,
}

impl Reduction {
    /// Of the parameters that these dispatches go through. A parameter's blocks are counted within
    /// it, in whatever dispatch they are.
    pub fn new<'a>(dispatches: impl IntoIterator<Item = &'a Dispatch>) -> Self {
        let mut starts: BTreeMap<usize, Start> = BTreeMap::new();
        for piece in dispatches.into_iter().flat_map(|dispatch| &dispatch.pieces) {
            starts.entry(piece.param).or_default().blocks += piece.blocks();
        }
        let mut partials = 0;
        for (start, tensor) in starts.values_mut().zip(0..) {
            (start.partial, start.tensor) = (partials, tensor);
            partials += start.blocks;
        }
        let levels = levels(starts.values().map(|start| start.blocks).collect());
        Self { starts, partials, levels }
    }

    /// The place of a piece's first partial sum, and its tensor's index.
    pub fn of_piece(&self, piece: &Piece) -> [u32; 2] {
        let start = self.starts.get(&piece.param).copied().unwrap_or_default();
        [(start.partial + piece.first / BLOCK) as u32, start.tensor]
    }

    /// A parameter's index among the tensors, the place of its first block and their number, if it
    /// takes part.
    pub fn of(&self, param: usize) -> Option<(usize, u64, u64)> {
        let start = self.starts.get(&param)?;
        Some((start.tensor as usize, start.partial, start.blocks))
    }
}

/// The root of a sum of squares in three scales, as `shaders/passes/squares.wgsl` has it: small
/// elements times 2⁸⁰, middling ones, and large ones times 2⁻⁸⁰.
pub(crate) fn root_of_squares<N: Number>(small: N, middling: N, large: N) -> N {
    let small = small * 2f64.powi(-160).into();
    (small + middling + large * 2f64.powi(160).into()).sqrt()
}

/// The levels that take each tensor from this many entries to one.
fn levels(mut counts: Vec<u64>) -> Vec<Level> {
    let mut levels = Vec::new();
    loop {
        let mut rows = Vec::new();
        let mut first = 0;
        for count in &mut counts {
            let end = first + *count;
            *count = count.div_ceil(SUM_LENGTH);
            while first < end {
                let length = (end - first).min(SUM_LENGTH);
                rows.push([first as u32, length as u32]);
                first += length;
            }
        }
        let runs = runs(&rows);
        levels.push(Level { rows, runs });
        if counts.iter().all(|&count| count <= 1) {
            return levels;
        }
    }
}

/// Shares rows out among workgroups: short ones that follow one another have one together.
fn runs(rows: &[[u32; 2]]) -> Vec<[u32; 2]> {
    let is_short = |row: &[u32; 2]| u64::from(row[1]) <= SHORT_SUM;
    let alike = rows.chunk_by(|a, b| is_short(a) && is_short(b));
    let mut first = 0;
    let run = |rows: &[[u32; 2]]| {
        let run = [first, rows.len() as u32];
        first += run[1];
        run
    };
    alike.flat_map(|rows| rows.chunks(WORKGROUP_SIZE as usize)).map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_added_once_to_its_own_tensor() {
        let counts = vec![1, 1024, 1025, 3, 2_000_000];
        let levels = levels(counts.clone());
        assert_eq!(levels.len(), 3);
        // Follow each entry, marked with its tensor, through all levels.
        let mut entries: Vec<Vec<usize>> = Vec::new();
        for (tensor, &count) in counts.iter().enumerate() {
            entries.extend((0..count).map(|_| vec![tensor]));
        }
        for Level { rows, runs } in &levels {
            let mut next = 0;
            for &[first, count] in runs {
                assert!(first == next && (1..=256).contains(&count));
                next += count;
                let run = &rows[first as usize..next as usize];
                assert!(count == 1 || run.iter().all(|row| u64::from(row[1]) <= SHORT_SUM));
            }
            assert_eq!(next as usize, rows.len());
            next = 0;
            entries = rows
                .iter()
                .map(|&[first, length]| {
                    assert!(first == next && u64::from(length) <= SUM_LENGTH);
                    next = first + length;
                    entries[first as usize..next as usize].concat()
                })
                .collect();
        }
        for (tensor, &count) in counts.iter().enumerate() {
            assert_eq!(entries[tensor].len() as u64, count);
            assert!(entries[tensor].iter().all(|&of| of == tensor));
        }
    }

    /// A workgroup for every tensor would take 40 times as long as the step itself.
    #[test]
    fn workgroups_are_shared_by_tensors_of_few_blocks() {
        let workgroups = |counts: Vec<u64>| -> usize {
            levels(counts).iter().map(|level| level.runs.len()).sum()
        };
        assert_eq!(workgroups(vec![1; 100_000]), 100_000usize.div_ceil(256));
        assert_eq!(workgroups([vec![8; 512], vec![9], vec![3; 256]].concat()), 2 + 1 + 1);
    }
}
